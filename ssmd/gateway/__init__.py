"""Live and historical data for people, programs and agents, over WebSocket and REST, with entitlements and audit.

access          who may read what: pure decisions, and the seam to whoever knows the clients
problems        every error that a client may see, as problem+json

Live, over WebSocket:
websocket       GET /subscribe from its request to its last byte; handshake: what the request says
live_session    one client: its commands are done, changes of its grants take effect
deliveries      what it is sent: live, caught up with, or replayed from the archive
line            its WebSocket: texts in, frames out, pings, the goodbye; outbox: what waits for a slow client
subscriptions   what it has asked for against what it may read, pure
commands        what a client may say; notices: what the gateway says; frames: RFC 6455; encoding: an event as JSON
hub             every live message once (live_events), for all sessions; hub_reader: the actor that feeds it from the bus
resume          from an earlier message or time up to now, without a seam
replaying       the archive at a chosen pace
live            what a session works with; tickets: a key's stand-in for browsers; times: as clients write them
"""
