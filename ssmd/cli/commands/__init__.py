"""What `ssmd --help` shows: the words, options and examples of every command, one noun per file.

Nothing heavy is imported here, since --help and completion must answer at once; what a command does stands in
`ssmd/cli/` and is imported when it runs.
"""
