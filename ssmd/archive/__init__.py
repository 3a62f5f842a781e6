"""Read what is stored: raw records and events in order, and what is known of the quality of each minute.

reading: objects in the order of capture. ledger: every minute of a range with one answer. remembering: a store that need
not be asked for everything again. together: several calls to the world outside at once.
"""
