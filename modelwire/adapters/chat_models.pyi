from modelwire.adapters import AzureChatOpenAI as AzureChatOpenAI
from modelwire.adapters import BaseChatModel as BaseChatModel
from modelwire.adapters import ChatAnthropic as ChatAnthropic
from modelwire.adapters import ChatAnthropicVertex as ChatAnthropicVertex
from modelwire.adapters import ChatBedrockConverse as ChatBedrockConverse
from modelwire.adapters import ChatGoogleGenerativeAI as ChatGoogleGenerativeAI
from modelwire.adapters import ChatOpenAI as ChatOpenAI
from modelwire.adapters import ChatVertexAI as ChatVertexAI
