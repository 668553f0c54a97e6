//! After construction, orders are encoded and handed over without allocating.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use bus::oms::{
    Encoder, File, FixConfig, Gateway, NewOrder, OrderId, Real, Several, Tcp, TcpConfig,
};
use bus::signal::Order;
use bus::{Price, Qty, Side, Ts};

struct Counting;

thread_local! {
    /// Of this thread only: the peer's thread may do what it likes.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it,
// and its cell needs neither construction nor destruction.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above, that is from `System`, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_allocated_after_construction() {
    const ORDERS: u64 = 10_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = std::thread::spawn(move || {
        let mut received = Vec::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_end(&mut received)
            .unwrap();
        received
    });
    let path = std::env::temp_dir().join(format!("oms-allocation-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut gateway = Several::new(vec![
        Real::File(File::create(&path).unwrap()),
        Real::Tcp(
            Tcp::connect(&TcpConfig {
                address,
                connect_max: Duration::from_secs(5),
                stall_max: Duration::from_secs(20),
                waiting_bytes_max: 64 * 1024,
            })
            .unwrap(),
        ),
    ]);
    let mut encoder = Encoder::new(&FixConfig {
        sender: "TAPELINE".into(),
        target: "BROKER".into(),
        sender_sub: None,
        account: Some("ACC-7".into()),
    })
    .unwrap();

    let before = COUNT.get();
    for seq in 0..ORDERS {
        // Three hours apart, so that the date changes too.
        let ts = Ts(1_767_571_200_000_000_000 + seq as i64 * 10_800_000_000_000);
        let id = OrderId::new((2026, 1, 5), 0, seq, (seq % 500) as u32, 0);
        let price = Price(seq as i64 * 12_345_678);
        let qty = Qty(1 + seq as i64);
        let message = encoder.encode(&NewOrder {
            msg_seq: seq + 1,
            sending_time: ts,
            id: &id,
            symbol: b"AAPL    ",
            order: &Order {
                side: Side::Buy,
                price,
                qty,
                bid: price,
                ask: price,
                tif: bus::signal::Tif::Day,
            },
            transact_time: ts,
            poss_resend: seq % 2 == 0,
        });
        while !gateway.send(message).unwrap() {
            gateway.turn().unwrap();
        }
        if seq % 64 == 0 {
            gateway.turn().unwrap();
        }
    }
    assert_eq!(COUNT.get() - before, 0, "allocations");

    gateway.finish().unwrap();
    let file = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let in_file: Vec<u8> = file.into_iter().filter(|&byte| byte != b'\n').collect();
    assert!(
        peer.join().unwrap() == in_file,
        "the file and the peer have the same messages"
    );
    assert_eq!(
        in_file.windows(3).filter(|bytes| bytes == b"35=").count() as u64,
        ORDERS
    );
}

/// An order over OUCH, with all that it may say behind its fixed part.
#[test]
fn orders_of_ouch_allocate_nothing_either() {
    let midnight = Ts(1_767_589_200_000_000_000);
    let mut encoder = Encoder::ouch(&bus::ouch::Terms {
        capacity: b'P',
        display: b'Y',
        firm: Some(*b"DESK"),
        midnight,
    });
    let order = |tif| Order {
        side: Side::Sell,
        price: Price(187_250_000_000),
        qty: Qty(300),
        bid: Price::NONE,
        ask: Price::NONE,
        tif,
    };
    let before = COUNT.get();
    let mut bytes = 0;
    for seq in 0..10_000u64 {
        let till = Ts(midnight.0 + seq as i64 * 1_000_000_000);
        let tif = match seq % 3 {
            0 => bus::signal::Tif::Day,
            1 => bus::signal::Tif::Ioc,
            _ => bus::signal::Tif::Till(till),
        };
        bytes += encoder
            .encode(&NewOrder {
                msg_seq: seq + 1,
                sending_time: till,
                id: &OrderId::new((2026, 1, 5), 0, seq, (seq % 500) as u32, 0),
                symbol: b"AAPL    ",
                order: &order(tif),
                transact_time: till,
                poss_resend: false,
            })
            .len();
    }
    assert_eq!(COUNT.get() - before, 0, "allocations");
    // 47 bytes and the firm; a third of them with a time.
    assert_eq!(bytes, 10_000 * (47 + 6) + 3_333 * 6);
}
