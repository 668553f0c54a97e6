//! A body as the thirteen words that a signal has, and back. `FORMAT.md` has what each is.

use super::{
    Adjust, AdjustReason, Best, Body, Broken, Digest, Fate, Features, Join, JoinValue, Late,
    LateReason, Met, Momentum, Order, Outcome, Over, Regime, Reject, RejectCode, Report, Sent,
    SignalKind, Spread, Volatility, Whose, Window, WindowFlow, WindowStanding,
};
use crate::event::Side;
use crate::fixed::{Notional, Price, Qty, Ts};

/// As many as a signal has room for.
pub(super) type Words = [i64; 13];

impl Body {
    pub(super) fn to_words(self) -> (SignalKind, Words) {
        let mut w = [0i64; 13];
        let kind = match self {
            Body::Window(x) => {
                let [high, low] = x.notional.to_words();
                w[..12].copy_from_slice(&[
                    x.start.0,
                    x.open.0,
                    x.high.0,
                    x.low.0,
                    x.close.0,
                    x.volume.0,
                    high,
                    low,
                    x.trade_count as i64,
                    x.late_count as i64,
                    x.revision as i64,
                    !x.is_final as i64,
                ]);
                SignalKind::Window
            }
            Body::Late(x) => {
                w[..4].copy_from_slice(&[x.price.0, x.qty.0, x.late_ns, x.reason as i64]);
                SignalKind::Late
            }
            Body::Spread(x) => {
                w[..5].copy_from_slice(&[
                    x.raised as i64,
                    float_word(x.bps),
                    x.bid.0,
                    x.ask.0,
                    x.since.0,
                ]);
                SignalKind::Spread
            }
            Body::Regime(x) => {
                w[..3].copy_from_slice(&[x.from as i64, x.to as i64, float_word(x.bps)]);
                SignalKind::Regime
            }
            Body::Momentum(x) => {
                w[..7].copy_from_slice(&[
                    x.side as i64,
                    float_word(x.move_bps),
                    float_word(x.imbalance),
                    x.quote.bid.0,
                    x.quote.ask.0,
                    x.quote.bid_qty.0,
                    x.quote.ask_qty.0,
                ]);
                SignalKind::Momentum
            }
            Body::Order(x) => {
                w[..5].copy_from_slice(&x.to_words());
                w[5] = x.tif.to_word();
                SignalKind::Order
            }
            Body::Reject(x) => {
                w[..5].copy_from_slice(&x.order.to_words());
                w[5..8].copy_from_slice(&[x.code as i64, x.limit, x.value]);
                w[8] = x.order.tif.to_word();
                SignalKind::Reject
            }
            Body::Sent(x) => {
                w[..4].copy_from_slice(&[
                    x.order_ordinal as i64,
                    x.outcome as i64,
                    x.msg_seq as i64,
                    x.ts_sent.0,
                ]);
                if let Some(over) = &x.over {
                    let Over {
                        whose,
                        code,
                        limit,
                        value,
                    } = *over;
                    w[4..8].copy_from_slice(&[whose as i64, code as i64, limit, value]);
                }
                SignalKind::Sent
            }
            Body::Digest(x) => {
                w[..3].copy_from_slice(&[x.value as i64, x.events as i64, x.minute as i64]);
                SignalKind::Digest
            }
            Body::Broken(x) => {
                w[0] = x.match_number as i64;
                SignalKind::Broken
            }
            Body::WindowFlow(x) => {
                let [high, low] = Notional(x.squares.unwrap_or(-1)).to_words();
                let sizes = x.sizes.unwrap_or([Qty(-1); 3]);
                w[..9].copy_from_slice(&[
                    x.start.0,
                    x.bought.map_or(-1, |qty| qty.0),
                    x.sold.0,
                    high,
                    low,
                    x.return_count as i64,
                    sizes[0].0,
                    sizes[1].0,
                    sizes[2].0,
                ]);
                SignalKind::WindowFlow
            }
            Body::WindowStanding(x) => {
                let sums = [x.price_ns, x.spread_ns, x.bid_qty_ns, x.ask_qty_ns];
                w[0] = x.start.0;
                for (sum, words) in sums.iter().zip(w[1..9].chunks_exact_mut(2)) {
                    words.copy_from_slice(&Notional(*sum).to_words());
                }
                w[9..].copy_from_slice(&[x.priced_ns, x.quoted_ns, x.ofi.0, x.moves as i64]);
                SignalKind::WindowStanding
            }
            Body::Adjust(x) => {
                w[..6].copy_from_slice(&[
                    x.start.0,
                    x.match_number as i64,
                    x.price.0,
                    x.qty.0,
                    x.reason as i64,
                    x.window_count as i64,
                ]);
                SignalKind::Adjust
            }
            Body::Features(x) => {
                w[0] = i64::from(x.first) | i64::from(x.count) << 32;
                for (word, value) in w[1..].iter_mut().zip(x.values) {
                    *word = float_word(value);
                }
                SignalKind::Features
            }
            Body::Report(x) => {
                let ordinal = i64::from(x.order_ordinal);
                // 0 for none.
                let reason = x.reason.map_or(0, |code| code as i64 + 1);
                w[..11].copy_from_slice(&[
                    x.order_seq as i64,
                    ordinal,
                    x.fate as i64,
                    reason,
                    x.price.0,
                    x.qty.0,
                    x.filled.0,
                    x.left.0,
                    x.ahead.0,
                    x.side as i64,
                    x.limit.0,
                ]);
                SignalKind::Report
            }
            Body::Join(x) => {
                w[0] = x.left_seq as i64;
                w[1..5].copy_from_slice(&x.left.to_words());
                let (met, of) = match x.right {
                    Met::Nothing => (0, 0),
                    Met::Record {
                        symbol,
                        ts,
                        seq,
                        value,
                    } => {
                        w[6..8].copy_from_slice(&[ts.0, seq as i64]);
                        w[8..12].copy_from_slice(&value.to_words());
                        (value.code(), symbol)
                    }
                    Met::Row(row) => (3, row),
                };
                w[5] = x.left.code() | met << 8 | i64::from(of) << 32;
                SignalKind::Join
            }
            Body::Best(x) => {
                (w[0], w[1]) = (x.bid.0, x.ask.0);
                w[2..4].copy_from_slice(&Notional(x.bid_qty).to_words());
                w[5..7].copy_from_slice(&Notional(x.ask_qty).to_words());
                let bytes = [x.bid_on, x.ask_on, x.counts, x.decimals, 0, 0, 0, 0];
                w[4] = i64::from_le_bytes(bytes);
                SignalKind::Best
            }
        };
        (kind, w)
    }

    pub(super) fn from_words(kind: SignalKind, w: &Words) -> Option<Body> {
        Some(match kind {
            SignalKind::Window => Body::Window(Window {
                start: Ts(w[0]),
                open: Price(w[1]),
                high: Price(w[2]),
                low: Price(w[3]),
                close: Price(w[4]),
                volume: Qty(w[5]),
                notional: Notional::from_words([w[6], w[7]]),
                trade_count: w[8] as u32,
                late_count: w[9] as u32,
                revision: w[10] as u32,
                is_final: w[11] == 0,
            }),
            SignalKind::Late => Body::Late(Late {
                price: Price(w[0]),
                qty: Qty(w[1]),
                late_ns: w[2],
                reason: if w[3] == 0 {
                    LateReason::Closed
                } else {
                    LateReason::Future
                },
            }),
            SignalKind::Spread => Body::Spread(Spread {
                raised: w[0] != 0,
                bps: word_float(w[1]),
                bid: Price(w[2]),
                ask: Price(w[3]),
                since: Ts(w[4]),
            }),
            SignalKind::Regime => Body::Regime(Regime {
                from: Volatility::from_word(w[0]),
                to: Volatility::from_word(w[1]),
                bps: word_float(w[2]),
            }),
            SignalKind::Momentum => Body::Momentum(Momentum {
                side: side(w[0])?,
                move_bps: word_float(w[1]),
                imbalance: word_float(w[2]),
                quote: crate::Quote {
                    bid: Price(w[3]),
                    ask: Price(w[4]),
                    bid_qty: Qty(w[5]),
                    ask_qty: Qty(w[6]),
                },
            }),
            SignalKind::Order => Body::Order(Order::from_words(w, w[5])?),
            SignalKind::Reject => Body::Reject(Reject {
                order: Order::from_words(w, w[8])?,
                code: RejectCode::from_word(w[5])?,
                limit: w[6],
                value: w[7],
            }),
            SignalKind::Sent => Body::Sent(Sent {
                order_ordinal: w[0] as u16,
                outcome: match w[1] {
                    0 => Outcome::Sent,
                    1 => Outcome::Killed,
                    2 => Outcome::Failed,
                    3 => Outcome::Cancelled,
                    4 => Outcome::Refused,
                    _ => return None,
                },
                msg_seq: w[2] as u64,
                ts_sent: Ts(w[3]),
                over: match w[4] {
                    0 => None,
                    whose => Some(Over {
                        whose: Whose::from_word(whose)?,
                        code: RejectCode::from_word(w[5])?,
                        limit: w[6],
                        value: w[7],
                    }),
                },
            }),
            SignalKind::Digest => Body::Digest(Digest {
                value: w[0] as u64,
                events: w[1] as u64,
                minute: w[2] as u32,
            }),
            SignalKind::Broken => Body::Broken(Broken {
                match_number: w[0] as u64,
            }),
            SignalKind::WindowFlow => Body::WindowFlow(WindowFlow {
                start: Ts(w[0]),
                bought: (w[1] >= 0).then_some(Qty(w[1])),
                sold: Qty(w[2]),
                squares: Some(Notional::from_words([w[3], w[4]]).0).filter(|sum| *sum >= 0),
                return_count: w[5] as u32,
                sizes: (w[6] >= 0).then_some([Qty(w[6]), Qty(w[7]), Qty(w[8])]),
            }),
            SignalKind::WindowStanding => {
                let sum = |at: usize| Notional::from_words([w[at], w[at + 1]]).0;
                Body::WindowStanding(WindowStanding {
                    start: Ts(w[0]),
                    price_ns: sum(1),
                    spread_ns: sum(3),
                    bid_qty_ns: sum(5),
                    ask_qty_ns: sum(7),
                    priced_ns: w[9],
                    quoted_ns: w[10],
                    ofi: Qty(w[11]),
                    moves: w[12] as u32,
                })
            }
            SignalKind::Adjust => Body::Adjust(Adjust {
                start: Ts(w[0]),
                match_number: w[1] as u64,
                price: Price(w[2]),
                qty: Qty(w[3]),
                reason: match w[4] {
                    0 => AdjustReason::Closed,
                    1 => AdjustReason::Beyond,
                    2 => AdjustReason::Unknown,
                    _ => return None,
                },
                window_count: w[5] as u32,
            }),
            SignalKind::Features => {
                let mut values = [0.0; Features::VALUES_MAX];
                for (value, word) in values.iter_mut().zip(&w[1..]) {
                    *value = word_float(*word);
                }
                let (first, count) = (w[0] as u32, (w[0] >> 32) as u32);
                if count as usize > Features::VALUES_MAX {
                    return None;
                }
                Body::Features(Features {
                    first,
                    count,
                    values,
                })
            }
            SignalKind::Report => Body::Report(Report {
                order_seq: w[0] as u64,
                order_ordinal: w[1] as u16,
                fate: match w[2] {
                    0 => Fate::New,
                    1 => Fate::Fill,
                    2 => Fate::Cancelled,
                    3 => Fate::Expired,
                    4 => Fate::Rejected,
                    _ => return None,
                },
                side: side(w[9])?,
                reason: match w[3] {
                    0 => None,
                    code => Some(RejectCode::from_word(code.checked_sub(1)?)?),
                },
                price: Price(w[4]),
                qty: Qty(w[5]),
                filled: Qty(w[6]),
                left: Qty(w[7]),
                ahead: Qty(w[8]),
                limit: Price(w[10]),
            }),
            SignalKind::Best => {
                let [bid_on, ask_on, counts, decimals, ..] = w[4].to_le_bytes();
                Body::Best(Best {
                    bid: Price(w[0]),
                    ask: Price(w[1]),
                    bid_qty: Notional::from_words([w[2], w[3]]).0,
                    ask_qty: Notional::from_words([w[5], w[6]]).0,
                    bid_on,
                    ask_on,
                    counts,
                    decimals,
                })
            }
            SignalKind::Join => {
                let of = (w[5] >> 32) as u32;
                Body::Join(Join {
                    left_seq: w[0] as u64,
                    left: JoinValue::read(w[5] & 0xff, &w[1..5])?,
                    right: match w[5] >> 8 & 0xff {
                        0 => Met::Nothing,
                        3 => Met::Row(of),
                        code => Met::Record {
                            symbol: of,
                            ts: Ts(w[6]),
                            seq: w[7] as u64,
                            value: JoinValue::read(code, &w[8..12])?,
                        },
                    },
                })
            }
        })
    }
}

pub(super) fn side(word: i64) -> Option<Side> {
    match word {
        0 => Some(Side::None),
        1 => Some(Side::Buy),
        2 => Some(Side::Sell),
        _ => None,
    }
}

pub(super) fn float_word(value: f64) -> i64 {
    value.to_bits() as i64
}

pub(super) fn word_float(word: i64) -> f64 {
    f64::from_bits(word as u64)
}
