//! Nasdaq TotalView-ITCH 5.0.
//!
//! Decoding does not branch on the message's type, which is what a processor predicts worst: a
//! table says for each type where its fields lie, and every field is loaded for every message,
//! big-endian, eight bytes that end where the field ends, and masked. A field that a type does
//! not have is masked to 0. What is rare (type `h`, errors) leaves the table with a length that
//! no message has, and takes a slower road.

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::{AHEAD_BYTES, Fault, Notes, Protocol};

/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = 50;

/// The decoder of one trading day.
#[derive(Clone, Copy, Debug)]
pub struct Itch {
    midnight: Ts,
}

impl Itch {
    /// For messages that count their nanoseconds from `midnight`: in New York, given in UTC.
    pub fn new(midnight: Ts) -> Itch {
        // Room for 48 bits of nanoseconds, so that adding them needs no check.
        assert!(
            midnight.0 <= i64::MAX - (1 << 48),
            "midnight is out of range"
        );
        Itch { midnight }
    }

    /// Decodes what the table does not: type `h`, and all that is wrong. `message` has its bytes
    /// as far as they are shown, `len_bytes` is its length.
    #[cold]
    #[inline(never)]
    fn decode_rare(
        &self,
        message: &[u8],
        len_bytes: usize,
        event: &mut Event,
    ) -> Result<Notes, Fault> {
        let Some(&code) = message.first().filter(|_| len_bytes > 0) else {
            return Err(Fault::Empty);
        };
        let got = len_bytes as u16;
        match (code, SPECS[usize::from(code)].len_bytes) {
            (b'h', _) if len_bytes == HALT_BYTES => self.decode_halt(message, event),
            (b'h', _) => Err(Fault::Length {
                code,
                got,
                want: HALT_BYTES as u16,
            }),
            (_, NO_LEN) => Err(Fault::UnknownType {
                code,
                len_bytes: got,
            }),
            (_, want) => Err(Fault::Length {
                code,
                got,
                want: want as u16,
            }),
        }
    }

    /// An operational halt is of one market; only Nasdaq's own (`Q`) stops what this feed shows.
    fn decode_halt(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let (market, action) = (message[19], message[20]);
        if !matches!(action, b'H' | b'T') {
            return Err(Fault::Field {
                code: b'h',
                offset_bytes: 20,
                got: action,
            });
        }
        *event = Event {
            ts_event: self.ts_event(message).expect("a whole message"),
            order: u64::from(action),
            symbol: locate(message),
            code: b'h',
            ..Event::new(if market == b'Q' {
                Kind::Status
            } else {
                Kind::Info
            })
        };
        Ok(Notes(Notes::NAMES))
    }

    #[inline(always)]
    fn ts(&self, message: &[u8; AHEAD_BYTES]) -> Ts {
        Ts(self
            .midnight
            .0
            .wrapping_add((word(message, 3) & TS_MASK) as i64))
    }
}

impl Protocol for Itch {
    #[inline]
    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let mut ahead = [0; AHEAD_BYTES];
        match ahead.get_mut(..message.len()) {
            Some(start) => start.copy_from_slice(message),
            None => return self.decode_rare(message, message.len(), event),
        }
        self.decode_ahead(&ahead, message.len(), event)
    }

    #[inline(always)]
    fn decode_ahead(
        &self,
        ahead: &[u8; AHEAD_BYTES],
        len_bytes: usize,
        event: &mut Event,
    ) -> Result<Notes, Fault> {
        let code = ahead[0];
        let spec = &SPECS[usize::from(code)];
        if len_bytes as u32 != spec.len_bytes {
            return self.decode_rare(ahead, len_bytes, event);
        }
        let letter = letter(spec, ahead);
        let qty = word(ahead, spec.qty_at) & spec.qty_mask;
        if letter.wrong & spec.letter_wrong != 0 || qty >> 63 != 0 {
            return Err(bad_field(spec, ahead));
        }
        event.ts_event = self.ts(ahead);
        event.ts_recv = Ts(0);
        event.seq = 0;
        event.order = word(ahead, spec.order_at) & spec.order_mask;
        event.order_b = word(ahead, spec.order_b_at) & spec.order_b_mask;
        event.price = Price::from_e4((word(ahead, spec.price_at) & spec.price_mask) as u32);
        event.qty = Qty(qty as i64);
        event.symbol = locate(ahead);
        event.kind = spec.kind;
        event.side = letter.side;
        // Nothing was printed where nothing traded: a cross of no shares only ends the auction.
        event.flags = Flags((spec.flags | letter.flags) * u8::from(qty != 0));
        event.code = code;
        Ok(spec.notes)
    }

    #[inline(always)]
    fn symbol(&self, message: &[u8]) -> u32 {
        if message.len() < LEN_BYTES_MIN {
            0
        } else {
            locate(message)
        }
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        (message.len() >= LEN_BYTES_MIN).then(|| {
            Ts(self.midnight.0.wrapping_add(
                (u64::from_be_bytes(message[3..11].try_into().expect("eight bytes")) & TS_MASK)
                    as i64,
            ))
        })
    }

    fn name(&self, message: &[u8]) -> Option<u64> {
        let name_at = match message.first()? {
            b'R' | b'H' | b'Y' | b'K' | b'J' | b'h' | b'N' | b'O' => 11,
            b'L' => 15,
            b'Q' => 19,
            b'A' | b'F' | b'P' => 24,
            b'I' => 28,
            _ => return None,
        };
        let name = message.get(name_at..name_at + 8)?;
        Some(u64::from_be_bytes(name.try_into().expect("eight bytes")))
    }
}

/// The shortest message has 12 bytes: a time, and one letter.
const LEN_BYTES_MIN: usize = 12;
const HALT_BYTES: usize = 21;
/// No message has this length.
const NO_LEN: u32 = u32::MAX;
const TS_MASK: u64 = (1 << 48) - 1;

/// The eight bytes from `at` on, which the table's places allow. That they lie in the message is
/// checked below.
#[inline(always)]
fn word(ahead: &[u8; AHEAD_BYTES], at: u8) -> u64 {
    // Changes no place of the table; it spares the check that would follow.
    let at = usize::from(at) % (AHEAD_BYTES - 8);
    u64::from_be_bytes(ahead[at..at + 8].try_into().expect("eight bytes"))
}

#[inline(always)]
fn letter(spec: &Spec, ahead: &[u8; AHEAD_BYTES]) -> &'static Letter {
    let at = usize::from(spec.letter_at) % (AHEAD_BYTES - 8);
    &LETTERS[usize::from(ahead[at] & spec.letter_mask)]
}

#[inline(always)]
fn locate(message: &[u8]) -> u32 {
    u32::from(u16::from_be_bytes([message[1], message[2]]))
}

#[cold]
#[inline(never)]
fn bad_field(spec: &Spec, message: &[u8; AHEAD_BYTES]) -> Fault {
    let letter = letter(spec, message);
    let is_letter = letter.wrong & spec.letter_wrong != 0;
    let offset_bytes = if is_letter {
        spec.letter_at
    } else {
        spec.qty_at
    };
    Fault::Field {
        code: message[0],
        offset_bytes,
        got: message[usize::from(offset_bytes)],
    }
}

/// Where the fields of one type lie. Each `_at` is the first of eight bytes whose last is the
/// field's last, each `_mask` cuts them down to the field.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Spec {
    order_mask: u64,
    order_b_mask: u64,
    qty_mask: u64,
    price_mask: u64,
    /// [`NO_LEN`] for a type that is unknown, or rare.
    len_bytes: u32,
    order_at: u8,
    order_b_at: u8,
    qty_at: u8,
    price_at: u8,
    /// The one letter that is a field of its own: side, imbalance direction, printable, state.
    letter_at: u8,
    letter_mask: u8,
    /// Which of [`Letter::wrong`] matter.
    letter_wrong: u8,
    flags: u8,
    kind: Kind,
    notes: Notes,
}

/// What a letter means, in the places where one is expected.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
struct Letter {
    side: Side,
    flags: u8,
    wrong: u8,
}

/// The letter is no side of an order.
const NOT_SIDE: u8 = 1;
/// The letter is no direction of an imbalance.
const NOT_DIRECTION: u8 = 2;
/// The letter is neither yes nor no.
const NOT_YES_NO: u8 = 4;
/// The letter is no trading state.
const NOT_STATE: u8 = 8;

static LETTERS: [Letter; 256] = {
    const ALL: u8 = NOT_SIDE | NOT_DIRECTION | NOT_YES_NO | NOT_STATE;
    let mut letters = [Letter {
        side: Side::None,
        flags: 0,
        wrong: ALL,
    }; 256];
    letters[b'B' as usize].side = Side::Buy;
    letters[b'S' as usize].side = Side::Sell;
    letters[b'B' as usize].wrong &= !(NOT_SIDE | NOT_DIRECTION);
    letters[b'S' as usize].wrong &= !(NOT_SIDE | NOT_DIRECTION);
    // No imbalance, not enough orders to tell, paused.
    letters[b'N' as usize].wrong &= !(NOT_DIRECTION | NOT_YES_NO);
    letters[b'O' as usize].wrong &= !NOT_DIRECTION;
    letters[b'P' as usize].wrong &= !(NOT_DIRECTION | NOT_STATE);
    letters[b'Y' as usize].wrong &= !NOT_YES_NO;
    letters[b'Y' as usize].flags = Flags::PRINTABLE.0;
    letters[b'H' as usize].wrong &= !NOT_STATE;
    letters[b'Q' as usize].wrong &= !NOT_STATE;
    letters[b'T' as usize].wrong &= !NOT_STATE;
    letters
};

impl Spec {
    /// A type without fields of its own. Every place is 0, where every message has eight bytes.
    const fn new(kind: Kind, len_bytes: u32) -> Spec {
        Spec {
            order_mask: 0,
            order_b_mask: 0,
            qty_mask: 0,
            price_mask: 0,
            len_bytes,
            order_at: 0,
            order_b_at: 0,
            qty_at: 0,
            price_at: 0,
            letter_at: 0,
            letter_mask: 0,
            letter_wrong: 0,
            flags: 0,
            kind,
            notes: Notes(0),
        }
    }

    const fn order(mut self, at: u8, bytes: u8) -> Spec {
        (self.order_at, self.order_mask) = place(at, bytes);
        self
    }

    const fn order_b(mut self, at: u8, bytes: u8) -> Spec {
        (self.order_b_at, self.order_b_mask) = place(at, bytes);
        self
    }

    const fn qty(mut self, at: u8, bytes: u8) -> Spec {
        (self.qty_at, self.qty_mask) = place(at, bytes);
        self
    }

    const fn price(mut self, at: u8) -> Spec {
        (self.price_at, self.price_mask) = place(at, 4);
        self
    }

    const fn letter(mut self, at: u8, wrong: u8) -> Spec {
        self.letter_at = at;
        self.letter_mask = 0xff;
        self.letter_wrong = wrong;
        self
    }

    const fn printable(mut self) -> Spec {
        self.flags = Flags::PRINTABLE.0;
        self
    }

    const fn attributed(mut self) -> Spec {
        self.flags = Flags::ATTRIBUTED.0;
        self
    }

    const fn notes(mut self, notes: u8) -> Spec {
        self.notes = Notes(notes);
        self
    }
}

/// Where to load eight bytes that end with the field of `bytes` bytes at `at`, and the mask.
const fn place(at: u8, bytes: u8) -> (u8, u64) {
    assert!(at + bytes >= 8, "the field ends before the eighth byte");
    (at + bytes - 8, u64::MAX >> (64 - 8 * bytes as u32))
}

/// What each type has where: numbers are offsets and lengths in chapter 4 of the specification.
static SPECS: [Spec; 256] = {
    const NAMES: u8 = Notes::NAMES;
    let mut specs = [Spec::new(Kind::Nothing, NO_LEN); 256];
    let known: [(u8, Spec); 22] = [
        (
            b'S',
            Spec::new(Kind::System, 12)
                .order(11, 1)
                .notes(Notes::FOR_ALL),
        ),
        (
            b'R',
            Spec::new(Kind::Symbol, 39)
                .order(11, 8)
                .qty(21, 4)
                .notes(NAMES | Notes::DEFINES),
        ),
        (
            b'H',
            Spec::new(Kind::Status, 25)
                .order(19, 1)
                .letter(19, NOT_STATE)
                .notes(NAMES),
        ),
        (b'Y', Spec::new(Kind::Info, 20).order(19, 1).notes(NAMES)),
        (b'L', Spec::new(Kind::Info, 26).order(25, 1).notes(NAMES)),
        (b'V', Spec::new(Kind::Info, 35)),
        (b'W', Spec::new(Kind::Info, 12).order(11, 1)),
        (
            b'K',
            Spec::new(Kind::Info, 28)
                .order(23, 1)
                .price(24)
                .notes(NAMES),
        ),
        (
            b'J',
            Spec::new(Kind::Info, 35)
                .order(31, 4)
                .price(19)
                .notes(NAMES),
        ),
        (b'A', order_spec(36)),
        (b'F', order_spec(40).order_b(36, 4).attributed()),
        (b'E', execution_spec(Kind::Execute, 31).printable()),
        (
            b'C',
            execution_spec(Kind::ExecuteAt, 36)
                .letter(31, NOT_YES_NO)
                .price(32),
        ),
        (b'X', Spec::new(Kind::Cancel, 23).order(11, 8).qty(19, 4)),
        (b'D', Spec::new(Kind::Delete, 19).order(11, 8)),
        (
            b'U',
            Spec::new(Kind::Replace, 35)
                .order(11, 8)
                .order_b(19, 8)
                .qty(27, 4)
                .price(31),
        ),
        (b'P', {
            let spec = Spec {
                kind: Kind::Trade,
                ..order_spec(44)
            };
            spec.order_b(36, 8).printable()
        }),
        (b'Q', {
            let spec = Spec::new(Kind::Cross, 40)
                .qty(11, 8)
                .price(27)
                .order_b(31, 8);
            spec.printable().notes(NAMES)
        }),
        (b'B', Spec::new(Kind::Break, 19).order_b(11, 8)),
        (b'I', {
            let spec = Spec::new(Kind::Imbalance, 50)
                .order(11, 8)
                .qty(19, 8)
                .price(44);
            spec.letter(27, NOT_DIRECTION).notes(NAMES)
        }),
        (b'N', Spec::new(Kind::Info, 20).order(19, 1).notes(NAMES)),
        (
            b'O',
            Spec::new(Kind::Info, 48)
                .order(19, 1)
                .price(28)
                .notes(NAMES),
        ),
    ];
    let mut index = 0;
    while index < known.len() {
        let (code, spec) = known[index];
        let len_bytes = spec.len_bytes as u8;
        // The loads of every type lie inside a message of its length.
        assert!(len_bytes as usize >= LEN_BYTES_MIN && len_bytes as usize <= MESSAGE_BYTES_MAX);
        assert!(spec.order_at + 8 <= len_bytes && spec.order_b_at + 8 <= len_bytes);
        assert!(spec.qty_at + 8 <= len_bytes && spec.price_at + 8 <= len_bytes);
        assert!(spec.letter_at < len_bytes);
        specs[code as usize] = spec;
        index += 1;
    }
    specs
};

const _: () = assert!(MESSAGE_BYTES_MAX <= AHEAD_BYTES - 8);
const _: () = assert!(size_of::<Spec>() == 64);

/// A new order, or a trade against a hidden one, which is laid out alike.
const fn order_spec(len_bytes: u32) -> Spec {
    let spec = Spec::new(Kind::Add, len_bytes)
        .order(11, 8)
        .letter(19, NOT_SIDE);
    spec.qty(20, 4).price(32).notes(Notes::NAMES)
}

/// An execution of a shown order.
const fn execution_spec(kind: Kind, len_bytes: u32) -> Spec {
    Spec::new(kind, len_bytes)
        .order(11, 8)
        .qty(19, 4)
        .order_b(23, 8)
}
