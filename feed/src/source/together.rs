//! Which files may be read as one input: whose numbers and names mean the same things, and that do
//! not tell the same things twice.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use bus::{Event, Kind, Ts};

use super::capture::{Capture, CaptureOptions, Format};
use super::dbn_file::DbnFile;
use super::input::Input;
use super::{Framing, Packet, Polled, Source, SourceError};
use crate::moldudp64::{Blocks, Header, SessionId};
use crate::protocol::said::Instruments;
use crate::protocol::{Itch, Protocol, Wire};

/// Once all files have begun, so many packets more are looked at.
const PACKETS_MAX: u64 = 1 << 16;
/// So many packets of an older session, about what a newer one has spoken of, are no stray ones.
const RETURNS_MIN: u32 = 3;

/// So many messages of each speaker are known by what they say.
const HEAD_MESSAGES: usize = 64;

/// Files whose content begins differently within so many bytes are not compared any further.
const START_BYTES: usize = 4096;

/// Two of the files, by their indices, and what is wrong between them.
pub(super) type Clash = (usize, usize, String);

impl Capture {
    /// Refuses files that cannot be of one input, as far as that shows before it is read: ITCH
    /// sessions that use the same numbers at one time for different things, sessions of one name that begin with
    /// different messages, messages without numbers that another file has, too, a symbol of two
    /// markets, records that tell the same trades, the same content twice (compressed or not) where
    /// nothing in it tells what was read before. What begins anew under another session's name
    /// is one input, and so are sources that share no number. `paths` and `options` are those that
    /// it was opened with; for ITCH the files are read until all have begun.
    pub fn check_together(
        &self,
        wire: Wire,
        paths: &[PathBuf],
        options: &CaptureOptions,
    ) -> Result<(), SourceError> {
        if let Some((file, other)) = self.twins(paths) {
            let is = match paths[other] == paths[file] {
                true => "named twice".to_string(),
                false => format!("the same content as {}", paths[other].display()),
            };
            return Err(SourceError {
                path: paths[file].clone(),
                offset_bytes: None,
                what: format!("{is}, and nothing in it tells what was read before: name it once"),
            });
        }
        let mut formats = self.files().iter().map(|info| info.format);
        let mut dbn = self.dbn_files();
        // A file without packets is one session.
        let has_sessions =
            paths.len() > 1 || matches!(self.files()[0].format, Format::Pcap | Format::Pcapng);
        let clash = match wire {
            Wire::Itch if formats.any(|format| format == Format::Quarantine) => None,
            Wire::Itch if has_sessions => sessions(paths, options)?,
            Wire::Itch => None,
            Wire::Dbn => dbn_clash(&mut dbn),
            _ => markets_clash(self.instruments_of_files()),
        };
        let Some((file, other, what)) = clash else {
            return Ok(());
        };
        let other = match file == other {
            true => String::new(),
            false => format!("; the other is {}", paths[other].display()),
        };
        Err(SourceError {
            path: paths[file].clone(),
            offset_bytes: None,
            what: format!("{what}{other}: give each a run of its own"),
        })
    }

    /// Two files of the same content, except in packets, whose numbers tell what was there before,
    /// and in text in which nothing is. Files that cannot be read are as no other: whoever reads
    /// them tells of it.
    fn twins(&self, paths: &[PathBuf]) -> Option<(usize, usize)> {
        let mut known: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (file, info) in self.files().iter().enumerate() {
            let is_once = match info.format {
                Format::Pcap | Format::Pcapng | Format::SoupBinTcp => false,
                Format::Binance | Format::Tardis | Format::Coinbase | Format::Bitstamp => {
                    info.start.is_some()
                }
                Format::Itch | Format::Lobster | Format::Dbn | Format::Quarantine => true,
            };
            if !is_once || paths.len() == 1 {
                continue;
            }
            let Ok(mut input) = Input::open(&paths[file], false) else {
                continue;
            };
            let start = input.peek(START_BYTES);
            let start = start[..start.len().min(START_BYTES)].to_vec();
            let alike = known.entry(start).or_default();
            let is_same = |other: &&usize| is_same_content(&paths[**other], &paths[file]);
            if let Some(other) = alike.iter().find(is_same) {
                return Some((file, *other));
            }
            alike.push(file);
        }
        None
    }
}

/// DBN files of which all trades are told by another of the files, with more of the book: the index
/// of each, that of the other, and what it tells again. Files that are no DBN, or that their
/// metadata do not say this of, are not among them.
pub fn told_again(paths: &[PathBuf]) -> Vec<(usize, usize, String)> {
    let dbn = |(index, path): (usize, &PathBuf)| {
        let mut input = Input::open(path, false).ok()?;
        if !DbnFile::is(input.peek(3)) {
            return None;
        }
        Some((index, DbnFile::start(&mut input, 1).ok()?))
    };
    let files: Vec<(usize, DbnFile)> = paths.iter().enumerate().filter_map(dbn).collect();
    let again = |(index, file): &(usize, DbnFile)| {
        let mut others = files.iter();
        others.find_map(|(other, that)| {
            let (own, theirs) = file.is_told_by(that)?;
            let what = format!("schema {own} tells the trades that {theirs} tells");
            Some((*index, *other, what))
        })
    };
    files.iter().filter_map(again).collect()
}

/// Whether two files hold the same bytes, whatever each is compressed with. A file that cannot be
/// read to its end is as no other.
pub fn is_same_content(one: &Path, other: &Path) -> bool {
    let open = |path| Input::open(path, false);
    let (Ok(mut one), Ok(mut other)) = (open(one), open(other)) else {
        return false;
    };
    loop {
        let (a, b) = (one.peek(1), other.peek(1));
        let len = a.len().min(b.len());
        if len == 0 {
            let is_end = a.is_empty() && b.is_empty();
            return is_end && one.failure().is_none() && other.failure().is_none();
        }
        if a[..len] != b[..len] {
            return false;
        }
        one.skip(len as u64);
        other.skip(len as u64);
    }
}

/// Who speaks of a symbol's number.
#[derive(Clone, Copy, Default)]
struct Spoken {
    /// The last source that did, counted from 1; 0 for none.
    by: u16,
    /// Its name, and who said it.
    name: u64,
    named_by: u16,
}

/// A session, or a file without any.
struct Speaker {
    id: Result<SessionId, u16>,
    file: usize,
    next: u64,
    /// The first messages that were heard of it: their numbers, and a hash of what each says.
    head: Vec<(u64, u64)>,
}

impl Speaker {
    fn title(&self) -> String {
        match self.id {
            Ok(session) => format!("session {session}"),
            Err(_) => "its numbers".into(),
        }
    }
}

/// What was said by whom.
struct Numbers {
    itch: Itch,
    speakers: Vec<Speaker>,
    symbols: Vec<Spoken>,
    returns: u32,
}

/// Looks for two sessions of ITCH that use the same numbers at one time.
fn sessions(paths: &[PathBuf], options: &CaptureOptions) -> Result<Option<Clash>, SourceError> {
    let options = CaptureOptions {
        decompress_ahead: false,
        itch_messages_max: match paths.len() {
            1 => options.itch_messages_max,
            _ => 1,
        },
        ..options.clone()
    };
    let mut source = Capture::open(paths, options)?;
    let mut numbers = Numbers {
        itch: Itch::new(Ts(0)),
        speakers: Vec::new(),
        symbols: vec![Spoken::default(); 1 << 16],
        returns: 0,
    };
    let mut has_begun = vec![false; paths.len()];
    let (mut begun, mut left) = (0, PACKETS_MAX);
    while left > 0 {
        match source.poll() {
            Ok(Polled::Packet(packet)) => {
                let file = usize::from(packet.place.file);
                if !std::mem::replace(&mut has_begun[file], true) {
                    begun += 1;
                }
                if begun == paths.len() {
                    left -= 1;
                }
                if let Some(clash) = numbers.hear(&packet, file) {
                    return Ok(Some(clash));
                }
            }
            Ok(Polled::Trouble(_) | Polled::Empty) => {}
            // Whoever reads it for what is in it tells of it.
            Ok(Polled::End) | Err(_) => break,
        }
    }
    Ok(None)
}

impl Numbers {
    fn hear(&mut self, packet: &Packet<'_>, file: usize) -> Option<Clash> {
        let (id, blocks, first) = match packet.framing {
            Framing::MoldUdp64 => {
                let (header, blocks) = Header::split(packet.payload)?;
                if header.sequence == 0 || header.message_count() == 0 {
                    return None;
                }
                (Ok(header.session), blocks, Some(header.sequence))
            }
            Framing::LengthPrefixed => (Err(packet.place.file), packet.payload, None),
            _ => return None,
        };
        let known = self.speakers.iter().position(|speaker| speaker.id == id);
        let index = known.unwrap_or_else(|| {
            let head = Vec::with_capacity(HEAD_MESSAGES);
            self.speakers.push(Speaker {
                id,
                file,
                next: 0,
                head,
            });
            self.speakers.len() - 1
        });
        if index >= usize::from(u16::MAX) {
            return None;
        }
        let next = self.speakers[index].next;
        // What another line brought before says nothing new.
        let skip = first.map_or(0, |first| next.saturating_sub(first));
        let mut returned = None;
        let mut count = 0;
        for message in Blocks::new(blocks) {
            if let Some(clash) = self.know(
                index,
                file,
                first.map(|first| first.saturating_add(count)),
                message,
            ) {
                return Some(clash);
            }
            count += 1;
            if count <= skip
                || self
                    .itch
                    .decode(message, &mut Event::new(Kind::Nothing))
                    .is_err()
            {
                continue;
            }
            let symbol = self.itch.symbol(message) as u16;
            if symbol == 0 {
                continue;
            }
            let me = index as u16 + 1;
            let name = (message[0] == b'R')
                .then(|| self.itch.name(message))
                .flatten();
            let spoken = &mut self.symbols[usize::from(symbol)];
            if let Some(name) = name {
                if spoken.name != 0 && spoken.name != name && spoken.named_by != me {
                    let other = usize::from(spoken.named_by) - 1;
                    let names = (name, spoken.name);
                    return Some(self.clash(file, index, other, symbol, Some(names)));
                }
                (spoken.name, spoken.named_by) = (name, me);
            }
            if spoken.by > me {
                returned = Some((usize::from(spoken.by) - 1, symbol));
            }
            spoken.by = me;
        }
        if let Some(first) = first {
            self.speakers[index].next = next.max(first.saturating_add(count));
        }
        let (other, symbol) = returned?;
        self.returns += 1;
        (self.returns >= RETURNS_MIN).then(|| self.clash(file, index, other, symbol, None))
    }

    /// Compares a speaker's first messages with what is known: under one number of a session stands one
    /// message, and what a file without numbers says was not said by another file.
    fn know(
        &mut self,
        index: usize,
        file: usize,
        number: Option<u64>,
        message: &[u8],
    ) -> Option<Clash> {
        let speaker = &mut self.speakers[index];
        let is_full = speaker.head.len() == HEAD_MESSAGES;
        if is_full && (file == speaker.file || number.is_none()) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        message.hash(&mut hasher);
        let hash = hasher.finish();
        let number = number.unwrap_or(speaker.head.len() as u64 + 1);
        if let Some(known) = speaker.head.iter().find(|known| known.0 == number) {
            let is_other = known.1 != hash && file != speaker.file;
            return is_other.then(|| {
                let title = speaker.title();
                let what = format!("message {number} of {title} says something else here");
                (file, speaker.file, what)
            });
        }
        if is_full {
            return None;
        }
        speaker.head.push((number, hash));
        if speaker.head.len() < HEAD_MESSAGES {
            return None;
        }
        let speaker = &self.speakers[index];
        let said = |speaker: &Speaker| speaker.head.iter().map(|known| known.1).collect::<Vec<_>>();
        let own = said(speaker);
        let other = self.speakers.iter().find(|other| {
            let has_numbers = other.id.is_ok() && speaker.id.is_ok();
            other.file != file && !has_numbers && said(other) == own
        })?;
        let what = format!("its first {HEAD_MESSAGES} messages are those of the other file");
        Some((file, other.file, what))
    }

    fn clash(
        &self,
        file: usize,
        index: usize,
        other: usize,
        symbol: u16,
        names: Option<(u64, u64)>,
    ) -> Clash {
        let (own, other) = (&self.speakers[index], &self.speakers[other]);
        let shown = |name: u64| {
            let bytes = name.to_be_bytes();
            bytes.trim_ascii().escape_ascii().to_string()
        };
        let what = match names {
            Some((name, before)) => format!("{} and {}", shown(name), shown(before)),
            None => "both speak of it by turns".into(),
        };
        let what = format!(
            "{} and {} count symbols and orders each for itself, and number {symbol} is in both \
             ({what})",
            own.title(),
            other.title()
        );
        (file, other.file, what)
    }
}

/// Looks for a symbol of two markets; `files` with the instruments of each.
fn markets_clash<'a>(files: impl Iterator<Item = (usize, &'a Instruments)>) -> Option<Clash> {
    let mut known: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for (file, instruments) in files {
        for (symbol, market) in instruments.markets() {
            let (other, before) = known
                .entry(symbol)
                .or_insert_with(|| (file, market.clone()));
            if *before != market {
                let what = format!("{symbol} is of {market} here, want one of {before}");
                return Some((file, *other, what));
            }
            if market == Instruments::TWO_MARKETS {
                let what = format!("{symbol} is of {market} at once, want one of them");
                return Some((file, file, what));
            }
        }
    }
    None
}

/// Looks for two files that tell the same trades, or whose instruments are numbered apart.
fn dbn_clash(files: &mut dyn Iterator<Item = (usize, &DbnFile)>) -> Option<Clash> {
    let mut before: Vec<(usize, &DbnFile)> = Vec::new();
    for (index, file) in files {
        for (other, that) in &before {
            if file.dataset != that.dataset {
                let (own, want) = (&file.dataset, &that.dataset);
                let what = format!("its dataset is {own}, want {want}");
                return Some((index, *other, what));
            }
            if let Some((own, theirs)) = file.tells_trades_of(that) {
                let what = match own == theirs {
                    true => {
                        format!("schema {own} of a time and an instrument that are told twice")
                    }
                    false => format!("schema {own} tells the trades that {theirs} tells"),
                };
                return Some((index, *other, what));
            }
        }
        before.push((index, file));
    }
    None
}
