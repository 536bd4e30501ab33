"""The connections of calls: over the shared pools, a user's client, aiohttp, or a client of an SDK."""
