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

/// OrderMassStatusRequest: how all orders stand.
pub fn mass_status(name: &[u8]) -> Draft {
    let mut draft = Draft::new(b"AF");
    draft
        .body()
        .bytes(tags::MASS_STATUS_REQ_ID, name)
        // MassStatusReqType 7: all orders.
        .text(tags::MASS_STATUS_REQ_TYPE, "7");
    draft
}
