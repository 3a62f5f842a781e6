@0xabcdef1234567890;

# Ordinals never change; new fields are appended. Times are nanoseconds since 1970 UTC.
# (conn, seq, index) with the exchange name the connection, the frame within it, and the event within the frame.

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
  receivedAt @7 :Timestamp;
  connection @8 :Text;
  sequence   @9 :UInt64;
  index      @10 :UInt32;
}

struct Trade {
  symbol     @0 :Text;
  price      @1 :Float64;
  size       @2 :Float64;
  side       @3 :Side;
  timestamp  @4 :Timestamp;
  tradeId    @5 :Text;
  exchange   @6 :Text;
  receivedAt @7 :Timestamp;
  connection @8 :Text;
  sequence   @9 :UInt64;
  index      @10 :UInt32;
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
  receivedAt @5 :Timestamp;
  connection @6 :Text;
  sequence   @7 :UInt64;
  index      @8 :UInt32;
}
