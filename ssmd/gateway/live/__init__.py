"""Live data over WebSocket: each message is read, encoded and framed once, and written to many.

websocket       GET /subscribe from its request to its last byte; handshake: what the request says
session         one client: its commands are done, changes of its grants take effect
deliveries      what it is sent: live, caught up with, or replayed from the archive
line            its WebSocket: texts in, frames out, pings, the goodbye; outbox: what waits for a slow client
subscriptions   what it has asked for against what it may read, pure; catalog: which series there are
commands        what a client may say; notices: what the gateway says; frames: RFC 6455; encoding: an event as JSON
hub             every live message once (events), for all sessions; hub_reader: the actor that feeds it from the bus
resume          from an earlier message or time up to now, without a seam
replaying       the archive at a chosen pace
parts           what a session works with; tickets: a key's stand-in for browsers; service: all of it, put together
"""
