"""Live and historical data for people, programs and agents, over WebSocket and REST, with entitlements and audit.

access     who may read what: pure decisions, and the seam to whoever knows the clients
problems   every error that a client may see, as problem+json
"""
