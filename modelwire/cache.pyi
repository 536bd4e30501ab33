from modelwire.caches import InMemoryCache as InMemoryCache
from modelwire.caches import SQLiteCache as SQLiteCache
