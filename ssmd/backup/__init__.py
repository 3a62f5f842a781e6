"""Copy everything that a system is rebuilt from to another place, again and again, and bring it back.

inventory     what a backup consists of: one statement per run, written last, and lists of objects by day
walk          which days there are in a store, and which minute a key belongs to
completeness  up to which minute raw data, quality ledger and archive of a feed are all there
planning      what of a day is to be copied, and what is known to be there
copying       one object, hashed while it is copied, never over another one
backing_up    a run from beginning to end
restoring     the way back
parallel, patient   several calls at once; a store that is away for a moment is waited for
"""
