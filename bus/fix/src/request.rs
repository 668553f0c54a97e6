//! Requests about orders: FIX 4.4, volume 4. A session makes messages of them.

use bus::Ts;

use crate::blotter::Order;
use crate::session::Draft;
use crate::tags;
use crate::version::Version;

/// Whether a version has requests about many orders at once: OrderMassCancelRequest and
/// OrderMassStatusRequest came with FIX 4.3.
pub fn has_mass_requests(version: Version) -> bool {
    version >= Version::Fix43
}

/// OrderCancelRequest for an order, under this name.
pub fn cancel(order: &Order, name: &[u8], version: Version, now: Ts) -> Draft {
    let mut draft = Draft::new(b"F");
    draft
        .body()
        .bytes(tags::CL_ORD_ID, name)
        .bytes(tags::ORIG_CL_ORD_ID, &order.id_now)
        .bytes(tags::SYMBOL, &order.symbol)
        .bytes(tags::SIDE, &order.side)
        .time(tags::TRANSACT_TIME, now, version.has_milliseconds())
        .qty(tags::ORDER_QTY, order.qty);
    draft
}

/// OrderStatusRequest: how an order stands.
pub fn status(order: &Order) -> Draft {
    let mut draft = Draft::new(b"H");
    draft
        .body()
        .bytes(tags::CL_ORD_ID, &order.id_now)
        .bytes(tags::SYMBOL, &order.symbol)
        .bytes(tags::SIDE, &order.side);
    draft
}

/// OrderMassCancelRequest: all orders of a symbol, or all.
pub fn mass_cancel(name: &[u8], symbol: Option<&[u8]>, version: Version, now: Ts) -> Draft {
    let mut draft = Draft::new(b"q");
    let body = draft.body();
    body.bytes(tags::CL_ORD_ID, name);
    body.text(tags::MASS_CANCEL_REQUEST_TYPE, which(symbol));
    if let Some(symbol) = symbol {
        body.bytes(tags::SYMBOL, symbol);
    }
    body.time(tags::TRANSACT_TIME, now, version.has_milliseconds());
    draft
}

/// OrderMassStatusRequest: how all orders of a symbol, or all, stand.
pub fn mass_status(name: &[u8], symbol: Option<&[u8]>) -> Draft {
    let mut draft = Draft::new(b"AF");
    let body = draft.body();
    body.bytes(tags::MASS_STATUS_REQ_ID, name);
    body.text(tags::MASS_STATUS_REQ_TYPE, which(symbol));
    if let Some(symbol) = symbol {
        body.bytes(tags::SYMBOL, symbol);
    }
    draft
}

/// Both requests number their kinds alike: 1 is a security, 7 is all orders.
const fn which(symbol: Option<&[u8]>) -> &'static str {
    match symbol {
        Some(_) => "1",
        None => "7",
    }
}
