//! What is repeated when the other side asks for it, and what is passed over.

use std::mem;

use bus::Ts;

use super::{Application, Note, REPEAT_PAUSE_BYTES, Repeat, Session, Stop};
use crate::message::{Fields, Message, parse};
use crate::store::Store;
use crate::writer::Writer;
use crate::{tags, value};

impl<S: Store> Session<S> {
    pub(super) fn repeat<A: Application>(
        &mut self,
        from: u64,
        to: u64,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if from > to {
            return Ok(());
        }
        app.on_note(&Note::Repeating { from, to });
        // Whoever asks again while it goes on has it from where the earlier one is.
        let (next, to) = match self.repeat {
            Some(repeat) => (repeat.next.min(from), repeat.to.max(to)),
            None => (from, to),
        };
        self.repeat = Some(Repeat { next, to });
        self.go_on_repeating(now, app)
    }

    /// Repeats as much as the other side reads. Messages of the session are passed over, and what
    /// is passed over is told by the number behind it.
    pub(super) fn go_on_repeating<A: Application>(
        &mut self,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        let Some(Repeat { mut next, to }) = self.repeat.take() else {
            return Ok(());
        };
        let mut fields = Fields::default();
        let mut bytes = Vec::new();
        let mut gap = None;
        while next <= to {
            if self.output().len() > REPEAT_PAUSE_BYTES {
                break;
            }
            bytes.clear();
            let is_kept = self.store.load(next, &mut bytes)?;
            let message = is_kept
                .then(|| parse(&bytes, &mut fields, &self.data).ok())
                .flatten()
                .filter(|message| !message.is_admin() && app.may_repeat(message));
            match message {
                Some(message) => {
                    if let Some(gap) = gap.take() {
                        self.fill_gap(gap, next, now);
                    }
                    let repeated = self.again(&message, now);
                    self.put(&repeated, now);
                }
                None => {
                    gap.get_or_insert(next);
                }
            }
            next += 1;
        }
        if let Some(gap) = gap {
            self.fill_gap(gap, next, now);
        }
        if next <= to {
            self.repeat = Some(Repeat { next, to });
        }
        Ok(())
    }

    fn fill_gap(&mut self, from: u64, next: u64, now: Ts) {
        let mut fields = Writer::new();
        fields
            .begin(b"")
            .number(tags::NEW_SEQ_NO, next)
            .flag(tags::GAP_FILL_FLAG, true);
        let body = fields.body_after_type();
        let message = self.compose(b"4", from, now, &[], Some(now), body);
        self.put(&message, now);
        self.scratch = message;
    }

    /// A message as it was, with the time of now and that of then.
    fn again(&mut self, message: &Message<'_>, now: Ts) -> Vec<u8> {
        let with_ms = self.config.version.has_milliseconds();
        let (time, time_len) = value::time_text(now, with_ms);
        let first = message.get(tags::SENDING_TIME).unwrap_or(&time[..time_len]);
        let mut dup = Some((tags::POSS_DUP_FLAG, &b"Y"[..]));
        let mut orig = Some((tags::ORIG_SENDING_TIME, first));
        self.writer.begin(message.msg_type());
        let mut is_data = false;
        for (tag, text) in message.fields().skip(3) {
            for added in [&mut dup, &mut orig] {
                if let Some((own, value)) = *added
                    && !is_data
                    && (tag > own || !tags::is_header(tag))
                {
                    self.writer.bytes(own, value);
                    *added = None;
                }
            }
            // Fields of data may hold any byte, and are copied as they are.
            is_data = false;
            match tag {
                tags::POSS_DUP_FLAG | tags::ORIG_SENDING_TIME | tags::CHECK_SUM => {}
                tags::SENDING_TIME => {
                    self.writer.bytes(tag, &time[..time_len]);
                }
                _ => {
                    self.writer.copied(tag, text);
                }
            }
        }
        let mut repeated = mem::take(&mut self.scratch);
        repeated.clear();
        repeated.extend_from_slice(self.writer.finish(self.config.version));
        repeated
    }
}
