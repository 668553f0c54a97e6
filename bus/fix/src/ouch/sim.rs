//! A venue that speaks OUCH, for tests: it does with orders what a [`Script`] says, as the one over FIX.
//!
//! Of its actions `lose` and `cut` end the connection: the first with what is told of the order from there on
//! on the venue's side only, the second behind it. Both are told again to who logs in. `correct`, `ask`,
//! `deaf` and `mute` are nothing that OUCH has, and are left out.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bus::ouch::{
    self, Accepted, AccountQueryResponse, Asked, BrokenTrade, Canceled, EnterOrder, Executed,
    Modified, Rejected, Replaced, U16, U32, U64,
};
use bus::soupbintcp::{Login, Server, Wants};
use bus::{Price, Qty, Ts};

use crate::sim::{Action, Script, Status};
use crate::wire::is_not_now;

/// The name of its session.
pub const SESSION: [u8; 10] = *b"       SIM";
/// A client that is silent for so long is gone.
const SILENCE_NS: u64 = 15_000_000_000;
/// How many reads of one connection a turn makes at most.
const READS_MAX: usize = 8;

/// An order, as the venue has it.
#[derive(Clone, Debug)]
pub struct Order {
    /// As it was entered.
    pub entered: EnterOrder,
    /// How it stands.
    pub status: Status,
    trades: Vec<(u64, i64, u64)>,
    canceled: i64,
}

impl Order {
    /// How much is filled.
    pub fn filled(&self) -> Qty {
        Qty(self.trades.iter().map(|(_, qty, _)| qty).sum())
    }

    /// The average price of what is filled, rounded down; zero when nothing is.
    pub fn average(&self) -> Price {
        let notional: u128 = self
            .trades
            .iter()
            .map(|(_, qty, price)| u128::from(*price) * *qty as u128)
            .sum();
        let average = notional.checked_div(self.filled().0 as u128).unwrap_or(0);
        ouch::price_of(U64::new(average as u64)).unwrap_or(Price(0))
    }

    /// The symbol, without its padding.
    pub fn symbol(&self) -> &[u8] {
        self.entered.symbol.trim_ascii_end()
    }

    fn leaves(&self) -> i64 {
        match self.status.is_open() {
            true => i64::from(self.entered.quantity.get()) - self.filled().0 - self.canceled,
            false => 0,
        }
    }

    /// Behind a trade.
    fn settle(&mut self) {
        self.status = match self.leaves() {
            0 => Status::Filled,
            _ => Status::Partial,
        };
    }

    /// The last trade never was, which brings no order back.
    fn bust(&mut self) -> Option<u64> {
        let leaves = self.leaves();
        let (id, qty, _) = self.trades.pop()?;
        self.canceled += qty;
        self.status = match (leaves, self.filled().0) {
            (0, _) => Status::Cancelled,
            (_, 0) => Status::New,
            _ => Status::Partial,
        };
        Some(id)
    }
}

/// What one user has: it outlives connections.
#[derive(Debug)]
pub struct Account {
    /// The user, as it logs in.
    pub user: String,
    /// Its orders by their UserRefNum.
    pub orders: BTreeMap<u32, Order>,
    /// All that was ever told.
    messages: Vec<Vec<u8>>,
    next: u32,
}

impl Account {
    /// How many messages it was told.
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// The UserRefNum that the next order must have at least.
    pub fn next(&self) -> u32 {
        self.next
    }
}

/// A connection.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    server: Server,
    account: Option<usize>,
    /// How many messages of its account were given to it.
    given: usize,
    /// Nothing more is told on it.
    is_losing: bool,
    /// It ends behind what was told.
    is_ending: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Venue {
    listener: TcpListener,
    script: Script,
    password: [u8; 10],
    accounts: Vec<Account>,
    links: Vec<Link>,
    /// What is open when a connection ends is cancelled: a setting of a port.
    cancel_on_disconnect: bool,
    matches: u64,
    session: [u8; 10],
    notes: Vec<String>,
}

impl Venue {
    /// Behind a listener, for these users, all with this password.
    pub fn new(
        listener: TcpListener,
        users: impl IntoIterator<Item = String>,
        password: &str,
        script: Script,
        cancel_on_disconnect: bool,
    ) -> io::Result<Venue> {
        listener.set_nonblocking(true)?;
        let fits = |user: &str| Login::new(user, password, "", 1);
        let mut accounts = Vec::new();
        let mut word = [b' '; 10];
        for user in users {
            let Some(login) = fits(&user) else {
                let what = format!(
                    "user `{user}`: want at most 6 letters, and at most 10 of the password"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            };
            word = login.password;
            accounts.push(Account {
                user,
                orders: BTreeMap::new(),
                messages: Vec::new(),
                next: 1,
            });
        }
        Ok(Venue {
            listener,
            script,
            password: word,
            accounts,
            links: Vec::new(),
            cancel_on_disconnect,
            matches: 0,
            session: SESSION,
            notes: Vec::new(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What its users have.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// What happened since this was asked last.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// From now on its session has this name, padded on its left.
    pub fn rename(&mut self, session: [u8; 10]) {
        self.session = session;
    }

    /// Ends all connections at once.
    pub fn cut(&mut self, now: Ts) {
        for link in std::mem::take(&mut self.links) {
            self.ended(&link, now);
        }
    }

    /// Takes what has come, and says how much was done.
    pub fn turn(&mut self, now: Ts) -> io::Result<usize> {
        let mut work = 0;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.links.push(Link {
                        stream,
                        server: Server::new(SILENCE_NS, now.0 as u64),
                        account: None,
                        given: 0,
                        is_losing: false,
                        is_ending: false,
                    });
                    work += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            }
        }
        for mut link in std::mem::take(&mut self.links) {
            match self.serve(&mut link, now) {
                Ok(done) => {
                    work += done;
                    self.links.push(link);
                }
                Err(why) => {
                    if !why.is_empty() {
                        self.notes.push(why);
                    }
                    self.ended(&link, now);
                    work += 1;
                }
            }
        }
        Ok(work)
    }

    /// A connection is over.
    fn ended(&mut self, link: &Link, now: Ts) {
        let Some(index) = link.account.filter(|_| self.cancel_on_disconnect) else {
            return;
        };
        let account = &mut self.accounts[index];
        for (&number, order) in &mut account.orders {
            if order.status.is_open() {
                let message = cancel(order, number, b'X', now);
                account.messages.push(message);
            }
        }
    }

    /// Reads, does what is wanted, and writes. `Err` says why the connection is over; nothing where it
    /// just ended.
    fn serve(&mut self, link: &mut Link, now: Ts) -> Result<usize, String> {
        let (mut work, mut is_gone) = (0, false);
        for _ in 0..READS_MAX {
            if link.is_ending {
                break;
            }
            match link.stream.read(link.server.room()) {
                Ok(0) => is_gone = true,
                Ok(count) => {
                    link.server.received(count, now.0 as u64);
                    work += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(_) => is_gone = true,
            }
            if is_gone {
                break;
            }
            loop {
                let wants = link.server.hear().map_err(|fault| fault.to_string())?;
                let message = match wants {
                    None => break,
                    Some(Wants::Login(login)) => {
                        self.login(link, &login)?;
                        continue;
                    }
                    Some(Wants::Debug(_)) => continue,
                    Some(Wants::Logout) => return Err(String::new()),
                    Some(Wants::Message(bytes)) => bytes.to_vec(),
                };
                let index = link.account.expect("it is logged in");
                let is_losing = self.asked(index, &message, now)?;
                link.is_losing |= is_losing == Some(true);
                link.is_ending |= is_losing.is_some();
                if link.is_ending {
                    break;
                }
            }
        }
        if is_gone {
            return Err(String::new());
        }
        link.server
            .tick(now.0 as u64)
            .map_err(|fault| fault.to_string())?;
        if let Some(index) = link.account.filter(|_| !link.is_losing) {
            for message in &self.accounts[index].messages[link.given..] {
                link.server.send(message);
                link.given += 1;
            }
        }
        while !link.server.to_send().is_empty() {
            match link.stream.write(link.server.to_send()) {
                Ok(0) => return Err(String::new()),
                Ok(count) => {
                    link.server.sent(count, now.0 as u64);
                    work += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(_) => return Err(String::new()),
            }
        }
        if link.is_losing || (link.is_ending && link.server.to_send().is_empty()) {
            return Err("cut by the script".into());
        }
        Ok(work)
    }

    fn login(&mut self, link: &mut Link, login: &Login) -> Result<(), String> {
        let name = String::from_utf8_lossy(&login.user);
        let found = self
            .accounts
            .iter()
            .position(|account| account.user == name.trim_end());
        let Some(index) = found.filter(|_| login.password == self.password) else {
            link.server.reject(b'A');
            let _ = link.stream.write_all(link.server.to_send());
            return Err(format!("{} is refused: not authorised", name.trim_end()));
        };
        let end = self.accounts[index].messages.len() as u64 + 1;
        let is_ours = login.session == self.session || login.session == [b' '; 10];
        if !is_ours || login.sequence > end {
            link.server.reject(b'S');
            let _ = link.stream.write_all(link.server.to_send());
            return Err(format!(
                "{} is refused: session {:?} from {}, want {:?} from at most {end}",
                name.trim_end(),
                login.session.escape_ascii().to_string(),
                login.sequence,
                self.session.escape_ascii().to_string(),
            ));
        }
        // One connection at a time: whoever comes again is believed that the one before is gone.
        self.links.retain(|other| other.account != Some(index));
        let from = if login.sequence == 0 {
            end
        } else {
            login.sequence
        };
        link.server.accept(self.session, from);
        link.account = Some(index);
        link.given = from as usize - 1;
        self.notes
            .push(format!("{} is logged in, from {from}", name.trim_end()));
        Ok(())
    }

    /// Does what is asked. `Some`: the connection ends, with `true` before what was told.
    fn asked(&mut self, index: usize, bytes: &[u8], now: Ts) -> Result<Option<bool>, String> {
        let asked = Asked::parse(bytes).map_err(|bad| bad.to_string())?;
        let account = &mut self.accounts[index];
        let timestamp = U64::new(since_midnight(now));
        match asked {
            Asked::EnterOrder(entered, _) => {
                let number = entered.user_ref_num.get();
                // It was had before, or one behind it was.
                if number < account.next {
                    return Ok(None);
                }
                account.next = number + 1;
                return Ok(self.enter(index, entered, now));
            }
            Asked::CancelOrder(wanted, _) => {
                let number = wanted.user_ref_num.get();
                let Some(order) = account.orders.get_mut(&number) else {
                    return Ok(None);
                };
                let (left, leaves) = (i64::from(wanted.quantity.get()), order.leaves());
                if left == 0 && leaves > 0 {
                    let message = cancel(order, number, b'U', now);
                    account.messages.push(message);
                } else if left < leaves {
                    order.canceled += leaves - left;
                    account
                        .messages
                        .push(canceled(number, leaves - left, b'U', now));
                }
            }
            Asked::ReplaceOrder(wanted, _) => {
                let number = wanted.user_ref_num.get();
                let before = wanted.orig_user_ref_num.get();
                if number < account.next {
                    return Ok(None);
                }
                account.next = number + 1;
                let Some(old) = account
                    .orders
                    .get_mut(&before)
                    .filter(|old| old.leaves() > 0)
                else {
                    return Ok(None);
                };
                old.canceled += old.leaves();
                old.status = Status::Cancelled;
                let entered = EnterOrder {
                    user_ref_num: wanted.user_ref_num,
                    quantity: wanted.quantity,
                    price: wanted.price,
                    time_in_force: wanted.time_in_force,
                    display: wanted.display,
                    sweep: wanted.sweep,
                    cl_ord_id: wanted.cl_ord_id,
                    ..old.entered
                };
                let replaced = Replaced {
                    code: Replaced::CODE,
                    timestamp,
                    orig_user_ref_num: wanted.orig_user_ref_num,
                    user_ref_num: wanted.user_ref_num,
                    side: entered.side,
                    quantity: entered.quantity,
                    symbol: entered.symbol,
                    price: entered.price,
                    time_in_force: entered.time_in_force,
                    display: entered.display,
                    order_reference_number: U64::new(number.into()),
                    capacity: entered.capacity,
                    sweep: entered.sweep,
                    cross_type: entered.cross_type,
                    order_state: b'L',
                    cl_ord_id: entered.cl_ord_id,
                    appendage_length: U16::new(0),
                };
                account.orders.insert(number, order(entered, Status::New));
                account.messages.push(replaced.as_bytes().to_vec());
            }
            Asked::ModifyOrder(wanted, _) => {
                let number = wanted.user_ref_num.get();
                let Some(order) = account.orders.get_mut(&number) else {
                    return Ok(None);
                };
                let leaves = order.leaves();
                let wants = i64::from(wanted.quantity.get());
                if leaves > 0 && wants <= leaves {
                    order.canceled += leaves - wants;
                    order.entered.side = wanted.side;
                    let modified = Modified {
                        code: Modified::CODE,
                        timestamp,
                        user_ref_num: wanted.user_ref_num,
                        side: wanted.side,
                        quantity: wanted.quantity,
                    };
                    account.messages.push(modified.as_bytes().to_vec());
                }
            }
            Asked::AccountQuery(..) => {
                let answer = AccountQueryResponse {
                    code: AccountQueryResponse::CODE,
                    timestamp,
                    next_user_ref_num: U32::new(account.next),
                };
                account.messages.push(answer.as_bytes().to_vec());
            }
        }
        Ok(None)
    }

    fn enter(&mut self, index: usize, entered: EnterOrder, now: Ts) -> Option<bool> {
        let account = &mut self.accounts[index];
        let number = entered.user_ref_num.get();
        let timestamp = U64::new(since_midnight(now));
        let mut order = order(entered, Status::New);
        let nth = account.orders.len() as u64 + 1;
        let (mut ends, mut is_accepted) = (None, false);
        for action in self.script.actions(nth, order.symbol()) {
            let leaves = order.leaves();
            // What happens to an order happens to one that was accepted.
            let accepts = matches!(
                action,
                Action::New | Action::Fill | Action::Partial(_) | Action::Bust | Action::Cancel
            );
            if accepts && !std::mem::replace(&mut is_accepted, true) {
                let accepted = Accepted {
                    code: Accepted::CODE,
                    timestamp,
                    user_ref_num: entered.user_ref_num,
                    side: entered.side,
                    quantity: entered.quantity,
                    symbol: entered.symbol,
                    price: entered.price,
                    time_in_force: entered.time_in_force,
                    display: entered.display,
                    order_reference_number: U64::new(number.into()),
                    capacity: entered.capacity,
                    sweep: entered.sweep,
                    cross_type: entered.cross_type,
                    order_state: b'L',
                    cl_ord_id: entered.cl_ord_id,
                    appendage_length: U16::new(0),
                };
                account.messages.push(accepted.as_bytes().to_vec());
            }
            match action {
                Action::New => {}
                Action::Reject => {
                    order.status = Status::Rejected;
                    let rejected = Rejected {
                        code: Rejected::CODE,
                        timestamp,
                        user_ref_num: entered.user_ref_num,
                        reason: U16::new(REJECTED),
                        cl_ord_id: entered.cl_ord_id,
                    };
                    account.messages.push(rejected.as_bytes().to_vec());
                }
                Action::Fill | Action::Partial(_) => {
                    let qty = match action {
                        Action::Partial(qty) => qty.min(leaves),
                        _ => leaves,
                    };
                    if qty > 0 {
                        self.matches += 1;
                        order.trades.push((self.matches, qty, entered.price.get()));
                        order.settle();
                        let executed = Executed {
                            code: Executed::CODE,
                            timestamp,
                            user_ref_num: entered.user_ref_num,
                            quantity: U32::new(qty as u32),
                            price: entered.price,
                            liquidity_flag: b'R',
                            match_number: U64::new(self.matches),
                        };
                        let mut message = executed.as_bytes().to_vec();
                        // This one always says the length of its appendage.
                        message.extend_from_slice(&[0, 0]);
                        account.messages.push(message);
                    }
                }
                Action::Bust => {
                    if let Some(id) = order.bust() {
                        let broken = BrokenTrade {
                            code: BrokenTrade::CODE,
                            timestamp,
                            user_ref_num: entered.user_ref_num,
                            match_number: U64::new(id),
                            reason: b'E',
                            cl_ord_id: entered.cl_ord_id,
                        };
                        account.messages.push(broken.as_bytes().to_vec());
                    }
                }
                Action::Cancel if leaves > 0 => {
                    let message = cancel(&mut order, number, b'S', now);
                    account.messages.push(message);
                }
                Action::Lose => ends = Some(true),
                Action::Cut => ends = ends.or(Some(false)),
                Action::Cancel
                | Action::Correct(_)
                | Action::Ask(_)
                | Action::Deaf(_)
                | Action::Mute(_) => {}
            }
        }
        account.orders.insert(number, order);
        ends
    }
}

/// A reason of appendix B: the order is not allowed at this time.
const REJECTED: u16 = 0x000f;

fn order(entered: EnterOrder, status: Status) -> Order {
    Order {
        entered,
        status,
        trades: Vec::new(),
        canceled: 0,
    }
}

fn since_midnight(now: Ts) -> u64 {
    now.0.rem_euclid(86_400_000_000_000) as u64
}

fn canceled(number: u32, qty: i64, reason: u8, now: Ts) -> Vec<u8> {
    let canceled = Canceled {
        code: Canceled::CODE,
        timestamp: U64::new(since_midnight(now)),
        user_ref_num: U32::new(number),
        quantity: U32::new(qty as u32),
        reason,
    };
    canceled.as_bytes().to_vec()
}

/// Cancels what is left of an order.
fn cancel(order: &mut Order, number: u32, reason: u8, now: Ts) -> Vec<u8> {
    let leaves = order.leaves();
    order.canceled += leaves;
    order.status = Status::Cancelled;
    canceled(number, leaves, reason, now)
}
