"""Live and historical data for people, programs and agents, over WebSocket and REST, with entitlements and audit.

access          who may read what: pure decisions, and the seam to whoever knows the clients
problems        every error that a client may see, as problem+json; times: as clients write them

entitlements    the clients, put together: doorkeeper (who comes in), keys, limits, sessions (who is in), clients (records)
administration  what administrators change; reconcile: with the environment's file
audit           what was delivered, counted and written down; reports: what is asked of that
database/       SQLite, and nothing else knows SQL

query           what a request asks for (parameters), cursor: where it goes on, answers: what it gets
history/        archive and stream as one sequence; formats/: the rows as JSON, NDJSON, CSV, Arrow, Parquet
live/           sessions over WebSocket
web/            connections, the app; routes/: its paths; description/: OpenAPI and AsyncAPI; pages/: the docs page
"""
