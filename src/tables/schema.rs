//! Every column of every table, in Parquet's own words.

/// Rises when a column changes its meaning, or goes away. A new column does not change it.
pub(super) const VERSION: u32 = 1;

/// `policy` says which trades count. Of a window that is said more than once, `revision` counts its rows
/// from 0, and the last has `is_final`. Columns behind `qty_decimals` are of windows that ask for them:
/// times `_ns` over which something is weighted, prices in units of currency, quantities in units,
/// `realized_variance` as a sum of squared returns. `vwap` is the exact quotient, rounded to 1e-9. Where quantities have
/// decimals, what a notional has below 1e-9 is cut. Here and below quantities are in units of 10 to the
/// power of minus `qty_decimals`.
pub(super) const WINDOWS: &str = "message windows {
    required int64 window_start (TIMESTAMP(NANOS, true));
    required int64 window_end (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    required binary kind (STRING);
    optional double open;
    optional double high;
    optional double low;
    optional double close;
    required int64 volume;
    optional double vwap;
    required double notional;
    required int64 trade_count;
    required int64 late_count;
    required int32 revision;
    required boolean is_final;
    required binary policy (STRING);
    required int64 notional_units;
    required int32 notional_nanos;
    required int64 seq;
    required int32 qty_decimals;
    optional int64 buy_volume;
    optional int64 sell_volume;
    optional double trade_imbalance;
    optional double realized_variance;
    optional int64 return_count;
    optional int64 size_p50;
    optional int64 size_p95;
    optional int64 size_p99;
    optional double twap;
    optional double spread;
    optional double bid_depth;
    optional double ask_depth;
    optional int64 ofi;
    optional int64 quote_count;
    optional int64 priced_ns;
    optional int64 quoted_ns;
}";

/// Broken prints that windows keep: `closed` ones are final, of open ones what they would be is
/// `beyond_memory`; an `unknown_trade` is one of which nothing is remembered. The windows are those from
/// `window_start`, where the first begins, to `window_end`, where the last ends.
pub(super) const ADJUSTMENTS: &str = "message adjustments {
    required int64 window_start (TIMESTAMP(NANOS, true));
    required int64 window_end (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    required binary policy (STRING);
    required int64 match_number (INTEGER(64, false));
    optional double price;
    required int64 qty;
    required int64 window_count;
    required binary reason (STRING);
    required int64 seq;
    required int32 qty_decimals;
}";

/// `value` is the spread in basis points of the mid price.
pub(super) const ALERTS: &str = "message alerts {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    required binary state (STRING);
    required double value;
    optional double bid;
    optional double ask;
    required int64 since (TIMESTAMP(NANOS, true));
    required int64 seq;
}";

/// `value` is the volatility in basis points per square root of a second.
pub(super) const REGIMES: &str = "message regimes {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    required binary state_before (STRING);
    required binary state (STRING);
    required double value;
    required int64 seq;
}";

/// `value` is the move of the micro-price in basis points.
pub(super) const SIGNALS: &str = "message signals {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    required binary side (STRING);
    required double value;
    required double imbalance;
    optional double bid;
    optional double ask;
    required int64 bid_qty;
    required int64 ask_qty;
    required int64 seq;
    required int32 qty_decimals;
}";

/// `reason`, `risk_limit` and `risk_value` are of refused orders; the unit is the rule's: shares
/// (size), whole units of currency (notional), hundredths of a basis point (collar), orders
/// (rate). `msg_seq` and `ts_sent` come from the machine: the only columns of all tables that are
/// not the same on every replay.
pub(super) const ORDERS: &str = "message orders {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary cl_ord_id (STRING);
    required binary symbol (STRING);
    required binary name (STRING);
    required binary side (STRING);
    required int64 qty;
    optional double price;
    required binary status (STRING);
    optional binary reason (STRING);
    optional int64 risk_limit;
    optional int64 risk_value;
    optional double bid;
    optional double ask;
    optional int64 msg_seq;
    optional int64 ts_sent (TIMESTAMP(NANOS, true));
    required int64 price_e9;
    required int64 seq;
}";

/// How each order stands by what its FIX session said of it, or a simulated venue.
/// `cl_ord_id_now` is its name after replacements; `average_e9` is rounded down, and the notional
/// exact. `odd` counts reports that did not fit what came before.
pub(super) const ORDER_STATES: &str = "message order_states {
    required binary cl_ord_id (STRING);
    required binary cl_ord_id_now (STRING);
    required binary order_id (STRING);
    required binary symbol (STRING);
    required binary side (STRING);
    required int64 qty;
    optional double price;
    optional int64 price_e9;
    required binary standing (STRING);
    required int64 filled;
    optional double average;
    optional int64 average_e9;
    required int64 notional_units;
    required int32 notional_nanos;
    required int64 reports;
    required int64 odd;
    required int64 refused;
    required binary text (STRING);
}";

/// Each fill, as it is after corrections; one that was busted is there and says so.
pub(super) const EXECUTIONS: &str = "message executions {
    required int64 ts_recv (TIMESTAMP(NANOS, true));
    required binary cl_ord_id (STRING);
    required binary exec_id (STRING);
    required binary symbol (STRING);
    required binary side (STRING);
    required int64 qty;
    optional double price;
    required int64 price_e9;
    required boolean busted;
    required int64 corrections;
}";

/// What the fills of a symbol come to. Averages are rounded down, and notionals exact.
pub(super) const POSITIONS: &str = "message positions {
    required binary symbol (STRING);
    required int64 net;
    required int64 bought;
    required int64 bought_units;
    required int32 bought_nanos;
    optional int64 bought_average_e9;
    required int64 sold;
    required int64 sold_units;
    required int32 sold_nanos;
    optional int64 sold_average_e9;
}";

/// Trades that came after the window `name` had closed, or from far in the future.
pub(super) const LATES: &str = "message lates {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    optional double price;
    required int64 qty;
    required int64 late_ns;
    required binary reason (STRING);
    required int64 seq;
    required int32 qty_decimals;
}";

pub(super) const BREAKS: &str = "message breaks {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required int64 match_number (INTEGER(64, false));
    required int64 seq;
}";

/// `minute` counts from the trading date's midnight.
pub(super) const DIGESTS: &str = "message digests {
    required int64 minute_start (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required int32 minute;
    required binary digest (STRING);
    required int64 events;
}";

/// A side that is not as deep as the other has nulls.
pub(super) const BOOKS: &str = "message books {
    required binary symbol (STRING);
    required int32 level;
    optional double bid_px;
    optional int64 bid_qty;
    optional int64 bid_orders;
    optional double ask_px;
    optional int64 ask_qty;
    optional int64 ask_orders;
    optional int64 bid_px_e9;
    optional int64 ask_px_e9;
    required int32 qty_decimals;
}";

/// One event of a capture, as `tapeline convert` writes them. `type` is the feed's own letter; `flags` are
/// those of the log. A replaced order has its new number in `order_id_new`; a trade, its own there.
pub(super) const EVENTS: &str = "message events {
    required int64 ts_recv (TIMESTAMP(NANOS, true));
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary kind (STRING);
    required binary type (STRING);
    required binary side (STRING);
    optional double price;
    optional int64 price_e9;
    required int64 qty;
    optional int64 order_id (INTEGER(64, false));
    optional int64 order_id_new (INTEGER(64, false));
    required int32 flags;
    required int64 seq;
    required int32 qty_decimals;
}";
