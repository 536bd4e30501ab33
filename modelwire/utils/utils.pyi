from modelwire.utils.env import convert_to_secret_str as convert_to_secret_str
from modelwire.utils.env import from_env as from_env
from modelwire.utils.env import get_from_dict_or_env as get_from_dict_or_env
from modelwire.utils.env import get_from_env as get_from_env
from modelwire.utils.env import secret_from_env as secret_from_env
