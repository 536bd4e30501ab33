"""The JSON of each wire, as far as modelwire writes and reads it, held against the types of the SDKs by a test."""
