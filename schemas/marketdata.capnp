@0xabcdef1234567890;

# Ordinals never change; new fields are appended. Times are nanoseconds since 1970 UTC.
# recvNs: when ssmd received it. (exchange, conn, seq, n): connection, frame within it, event within the frame;
# together they name one event everywhere.

struct Timestamp {
  epochNanos @0 :UInt64;
}

struct Quote {
  symbol     @0 :Text;
  bidPrice   @1 :Float64;
  bidSize    @2 :Float64;
  askPrice   @3 :Float64;
  askSize    @4 :Float64;
  timestamp  @5 :Timestamp;
  exchange   @6 :Text;
  recvNs @7 :UInt64;
  conn @8 :Text;
  seq   @9 :UInt64;
  n @10 :UInt32;
}

struct Trade {
  symbol     @0 :Text;
  price      @1 :Float64;
  size       @2 :Float64;
  side       @3 :Side;
  timestamp  @4 :Timestamp;
  tradeId    @5 :Text;
  exchange   @6 :Text;
  recvNs @7 :UInt64;
  conn @8 :Text;
  seq   @9 :UInt64;
  n @10 :UInt32;
}

enum Side {
  buy  @0;
  sell @1;
}

struct OrderBookLevel {
  price @0 :Float64;
  size  @1 :Float64;
}

struct OrderBookSnapshot {
  symbol    @0 :Text;
  bids      @1 :List(OrderBookLevel);
  asks      @2 :List(OrderBookLevel);
  timestamp @3 :Timestamp;
  exchange  @4 :Text;
  recvNs @5 :UInt64;
  conn @6 :Text;
  seq   @7 :UInt64;
  n @8 :UInt32;
}
