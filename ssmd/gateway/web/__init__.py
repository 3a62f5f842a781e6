"""The one door: every connection comes in here, over TLS or not, and is ended here.

server            the listening socket; doors: how many connections, and which goes first when there are too many
transport         the bytes of one connection; tls: certificates that may change
heads             the first request's head, bounded in size and time: it decides who gets the connection
http_connection   Hypercorn's protocol in a shell of ours, for everything that is no WebSocket
app               the Quart app: keys, limits, request ids, every error as problem+json
health            what /health says; readiness: whether database and store answer
"""
