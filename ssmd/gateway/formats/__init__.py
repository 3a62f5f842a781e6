"""The same rows in five formats.

writer     what writes an answer in a format
rows       columns of each type, and how a cell is written
text       JSON, NDJSON, CSV
tables     Arrow and Parquet; loads pyarrow when it is asked for
packing    compression of the answer
"""
