//! What packets and instruments miss, and the snapshots that mend it.

use bus::{Event, Flags, Price, Qty, Side};

use super::message::{Block, Message};
use super::{Channel, Instrument, Mdp3, NEW, each, is_held, note, show, side_of};
use crate::protocol::{Basis, Fault, Snapshot, Told};

impl Mdp3 {
    /// Sees whether a packet of the channel was missed, or the channel started anew.
    pub(super) fn follow(&mut self, channel: usize, sequence: u32) {
        let channel = &mut self.channels[channel];
        let before = std::mem::replace(&mut channel.sequence, sequence);
        if sequence == before || Some(sequence) == before.checked_add(1) {
            return;
        }
        self.epoch = self.epoch.saturating_add(1);
        channel.missed_to = sequence.saturating_sub(1);
        if sequence < before {
            let of_channel = self.instruments.iter_mut();
            for instrument in of_channel.filter(|i| i.channel == channel.port) {
                (instrument.seen, instrument.known_to) = (0, 0);
                instrument.numbered_to = 0;
            }
        }
    }

    /// The entry's number among those of its instrument, which all kinds of entries share: none may be missing
    /// before it. Where packets were lost, the next number in order proves that none of them had any.
    #[inline]
    pub(super) fn number(
        &mut self,
        symbol: u32,
        is_news: bool,
        event: &Event,
        entry: &Block<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let number = entry.u32(entry.fields.rpt_seq);
        let number = number.filter(|number| *number != u32::MAX).unwrap_or(0);
        let instrument = &mut self.instruments[symbol as usize];
        let last = instrument.numbered_to;
        if !is_news || number <= last {
            return Ok(());
        }
        instrument.numbered_to = number;
        if number == last + 1 && !instrument.is_stale {
            return Ok(());
        }
        self.look_at_number(symbol, last, number, event, out)
    }

    /// A number that is not the next one, or that of a stale instrument. The first number ever is 1.
    #[cold]
    pub(super) fn look_at_number(
        &mut self,
        symbol: u32,
        last: u32,
        number: u32,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let instrument = &mut self.instruments[symbol as usize];
        let is_next = number == last + 1;
        if instrument.is_stale {
            instrument.has_hole |= !is_next;
            if !instrument.has_hole && !instrument.has_orders {
                instrument.is_stale = false;
                out.push(note(event, symbol, Flags::WHOLE));
            }
            return Ok(());
        }
        // Where an instrument was joined it may have any number.
        if last == 0 {
            return Ok(());
        }
        (instrument.is_stale, instrument.has_hole) = (true, true);
        // Whatever snapshot there was before, the next one is needed.
        instrument.whole = 0;
        out.push(note(event, symbol, Flags::STALE));
        let (last, next) = (last.into(), u64::from(number) - 1);
        Err(Fault::Missed { last, next })
    }

    /// The instrument of a snapshot, if that is news.
    pub(super) fn snapshot_of(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<Option<(u32, u32)>, Fault> {
        let (block, fields) = (&message.block, message.block.fields);
        let security = block.i32(fields.security_id);
        let known_to = block.u32(fields.last_msg_seq_num_processed);
        let (Some(security), Some(known_to)) = (security, known_to) else {
            return Err(message.wrong(block, fields.security_id));
        };
        let symbol = self.symbol(security, None, event, out)?;
        let instrument = &self.instruments[symbol as usize];
        // Snapshots may come on another port, and an instrument of which nothing else came may be of any
        // channel: then the only one there is.
        let channels = || self.channels.iter().filter(|c| c.sequence > 0);
        let own = channels().find(|c| c.port == instrument.channel);
        let same = channels().find(|c| c.port == message.channel);
        let only = channels().next().filter(|_| channels().count() == 1);
        let missed_to = own.or(same).or(only).map_or(0, |c| c.missed_to);
        let is_news =
            instrument.whole != self.epoch && instrument.seen <= known_to && missed_to <= known_to;
        Ok(is_news.then_some((symbol, known_to)))
    }

    /// What a snapshot says of an instrument's book.
    pub(super) fn shown_by(&self, message: &Message<'_>) -> Told {
        let (block, fields) = (&message.block, message.block.fields);
        let security = block.i32(fields.security_id);
        let number = block.u32(fields.last_msg_seq_num_processed);
        let (Some(security), Some(number)) = (security, number) else {
            return Told::Nothing;
        };
        let symbol = self.symbols.known(u64::from(security as u32));
        let none = NEW;
        let instrument = self.instruments.get(symbol as usize).unwrap_or(&none);
        let are_orders = message.code == b'w';
        let rows = message.entries().filter_map(|entry| {
            let fields = entry.fields;
            let side = side_of(entry.byte(fields.md_entry_type)?)?;
            let qty = match are_orders {
                true => fields.md_display_qty,
                false => fields.md_entry_size,
            };
            let row = (side, entry.price(), Qty(entry.qty(qty)));
            (is_held(row.1) && row.2.0 > 0).then_some(row)
        });
        Told::Snapshot(Snapshot {
            symbol,
            group: instrument.channel.into(),
            number: number.into(),
            basis: self.basis(instrument, number, are_orders),
            part: block.u32(fields.current_chunk).unwrap_or(1),
            parts: block.u32(fields.no_chunks).unwrap_or(1),
            rows: rows.collect(),
            are_orders,
            levels_max: (!are_orders).then_some(instrument.depth),
        })
    }

    /// What an instrument's book is made of when a snapshot of it comes.
    pub(super) fn basis(&self, instrument: &Instrument, number: u32, are_orders: bool) -> Basis {
        // Where nothing was missed since the channel's first packet, no snapshot is needed.
        let is_whole = instrument.whole == self.epoch || self.epoch == 1 && !instrument.has_hole;
        if !is_whole || instrument.channel == 0 || are_orders && !instrument.has_orders {
            return Basis::Begins;
        }
        let of_channel = |channel: &&Channel| channel.port == instrument.channel;
        let channel = self.channels.iter().find(of_channel);
        let reached = channel.map_or(0, |channel| channel.sequence);
        match instrument.whole != self.epoch && reached < number {
            true => Basis::Ahead,
            false => Basis::Whole,
        }
    }

    /// All levels of an instrument.
    pub(super) fn snapshot(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let Some((symbol, known_to)) = self.snapshot_of(message, event, out)? else {
            return Ok(());
        };
        let instrument = &mut self.instruments[symbol as usize];
        if instrument.has_orders {
            return Ok(());
        }
        (instrument.known_to, instrument.whole) = (known_to, self.epoch);
        let (block, fields) = (&message.block, message.block.fields);
        instrument.numbered_to = block.u32(fields.rpt_seq).unwrap_or(0);
        instrument.has_hole = false;
        let was_stale = std::mem::take(&mut instrument.is_stale);
        if was_stale {
            out.push(note(event, symbol, Flags::WHOLE));
        }
        let from = out.len();
        let mut result = Ok(());
        for (index, (letter, side)) in [(b'0', Side::Buy), (b'1', Side::Sell)]
            .into_iter()
            .enumerate()
        {
            let event = Event {
                symbol,
                side,
                ..*event
            };
            let of_side = || {
                let all = message.entries();
                all.filter(|e| e.byte(e.fields.md_entry_type) == Some(letter))
            };
            let levels = &mut instrument.levels[index];
            for price in levels.drain(..) {
                if !of_side().any(|entry| entry.price() == price) {
                    result = result.and(show(&mut self.shown, &event, price, 0, out));
                }
            }
            for entry in of_side() {
                let (price, fields) = (entry.price(), entry.fields);
                let level = usize::from(entry.byte(fields.md_price_level).unwrap_or(0));
                if level > 0 {
                    levels.resize(levels.len().max(level), Price::NONE);
                    levels[level - 1] = price;
                    let qty = entry.qty(fields.md_entry_size);
                    result = result.and(show(&mut self.shown, &event, price, qty, out));
                }
            }
            instrument.depth = instrument.depth.max(levels.len());
        }
        self.changed(symbol, message, from, out);
        self.lacks_some(symbol, event, was_stale && result.is_err(), out);
        result
    }

    /// What was to make a book whole did not.
    pub(super) fn lacks_some(
        &mut self,
        symbol: u32,
        event: &Event,
        is_so: bool,
        out: &mut Vec<Event>,
    ) {
        if is_so {
            let instrument = &mut self.instruments[symbol as usize];
            (instrument.is_stale, instrument.has_hole) = (true, true);
            out.push(note(event, symbol, Flags::STALE));
        }
    }

    /// Some or all orders of an instrument; says whether they were the last.
    pub(super) fn order_snapshot(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> (Result<(), Fault>, bool) {
        let (symbol, known_to) = match self.snapshot_of(message, event, out) {
            Ok(Some(news)) => news,
            Ok(None) => return (Ok(()), true),
            Err(fault) => return (Err(fault), true),
        };
        let (block, fields) = (&message.block, message.block.fields);
        let part = block.u32(fields.current_chunk).unwrap_or(1);
        let parts = block.u32(fields.no_chunks).unwrap_or(1);
        let instrument = &mut self.instruments[symbol as usize];
        if part == 1 {
            instrument.known_to = known_to;
            self.show_orders(symbol, event, message, out);
            let from = out.len();
            self.clear(symbol, event, out);
            self.changed(symbol, message, from, out);
        } else if instrument.chunk.checked_add(1) != Some(part) || instrument.known_to != known_to {
            instrument.chunk = 0;
            return (Ok(()), true);
        }
        let instrument = &mut self.instruments[symbol as usize];
        instrument.chunk = part;
        let is_last = part >= parts;
        let mut was_stale = false;
        if is_last {
            instrument.whole = self.epoch;
            // A snapshot of orders does not say the last number.
            (instrument.numbered_to, instrument.has_hole) = (0, false);
            was_stale = std::mem::take(&mut instrument.is_stale);
        }
        if was_stale {
            out.push(note(event, symbol, Flags::WHOLE));
        }
        let from = out.len();
        let result = each(message.entries(), |entry| {
            let fields = entry.fields;
            let side = side_of(entry.byte(fields.md_entry_type).unwrap_or(0));
            let (Some(side), Some(id)) = (side, entry.u64(fields.order_id)) else {
                return Err(message.wrong(&entry, fields.md_entry_type));
            };
            let event = Event {
                symbol,
                side,
                order: id,
                price: entry.price(),
                qty: Qty(entry.qty(fields.md_display_qty)),
                ..*event
            };
            self.order(&event, false, entry.u64(fields.md_order_priority), out)
        });
        self.changed(symbol, message, from, out);
        self.lacks_some(symbol, event, was_stale && result.is_err(), out);
        (result, is_last)
    }
}
