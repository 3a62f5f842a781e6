"""What was: events of the archive and of the stream as one sequence, and what is known of their quality.

plan       what is read: series, versions, a span of receive time
objects    which archive objects there are, by minute
tail       what the stream has and the archive does not have yet
reader     both joined, minute by minute, in either direction
page       one answer of bounded length, and where the next one goes on
feeds      what is captured, and which version of it is served
catalog    which series there are, what the client means by a symbol
quality    what is known of a span
service    rows with their quality, as pages and as downloads
estimate   how large an answer would be
link       one connection to the bus for everybody who asks now and then
"""
