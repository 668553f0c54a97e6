//! What a session says and hands on, message by message, for either side.

use bus::Ts;
use fix::{
    ApplVersion, Application, Checks, DataTags, Dictionary, Draft, Fields, Framed, Framer, Inbound,
    Memory, Note, Outbox, Received, Role, Schedule, Session, SessionConfig, Store, Validator,
    Verdict, Version, Writer, parse, value,
};
use jiff::tz::TimeZone;

const SECOND_NS: i64 = 1_000_000_000;
const START: Ts = Ts(1_767_623_400 * SECOND_NS);

/// Writes down what it is told.
#[derive(Default)]
struct Diary {
    lines: Vec<String>,
    notes: Vec<Note>,
}

impl Application for Diary {
    fn on_message(&mut self, received: &Received<'_>, _: &mut Outbox) -> Verdict {
        let message = &received.message;
        let flaw = received
            .flaw
            .map_or(String::new(), |flaw| format!(" ! {flaw}"));
        self.lines
            .push(format!("app {}{flaw}", told(message.bytes())));
        match message.msg_type() {
            b"X" => Verdict::UnsupportedType,
            b"Y" => Verdict::Missing(55),
            _ => Verdict::Taken,
        }
    }

    fn on_logon(&mut self, _: &mut Outbox) {
        self.lines.push("logged on".into());
    }

    fn on_logout(&mut self) {
        self.lines.push("logged out".into());
    }

    fn may_repeat(&mut self, message: &fix::Message<'_>) -> bool {
        message.get(58) != Some(b"once")
    }

    fn on_note(&mut self, note: &Note) {
        self.notes.push(note.clone());
    }
}

/// Type, number and fields of a message, without names, times and sums.
fn told(bytes: &[u8]) -> String {
    let mut fields = Fields::default();
    let message = parse(bytes, &mut fields, &DataTags::default()).unwrap();
    let mut out = String::from_utf8_lossy(message.msg_type()).into_owned();
    out += &format!(" {}", message.number(34).unwrap());
    for (tag, text) in message.fields() {
        if !matches!(tag, 8 | 9 | 10 | 34 | 35 | 49 | 52 | 56 | 122) {
            out += &format!(" {tag}={}", String::from_utf8_lossy(text));
        }
    }
    out
}

/// A session, and the other side as a script.
struct Rig {
    session: Session<Memory>,
    diary: Diary,
    now: Ts,
    /// The other side's next number.
    seq: u64,
    /// How the other side's messages begin.
    begin: Version,
}

impl Rig {
    fn new(config: SessionConfig, validator: Option<Validator>) -> Rig {
        let begin = config.version;
        Rig {
            session: Session::new(config, Memory::new(START), validator, DataTags::default()),
            diary: Diary::default(),
            now: START,
            seq: 1,
            begin,
        }
    }

    /// What has left, behind what was told before.
    fn drain(&mut self) {
        let mut framer = Framer::new(1 << 16);
        framer.push(self.session.output());
        while let Some(framed) = framer.advance() {
            let Framed::Message(range) = framed else {
                panic!("what leaves is whole: {framed:?}")
            };
            self.diary
                .lines
                .push(format!("out {}", told(framer.bytes(range))));
        }
        assert!(framer.rest().is_empty());
        let len = self.session.output().len();
        self.session.written(len);
        if self.session.is_closing() {
            self.session.on_disconnected(self.now, &mut self.diary);
            self.diary.lines.push("closed".into());
        }
    }

    /// `in A 98=0`, with `#5` for a number out of turn; `wait 6`; `send D 11=x`; `connect`; `cut`.
    fn step(&mut self, line: &str) {
        let mut words = line.split(' ');
        match words.next().unwrap() {
            "connect" => self.session.on_connected(self.now, &mut self.diary),
            "cut" => self.session.on_disconnected(self.now, &mut self.diary),
            "logout" => self.session.log_out("", self.now, &mut self.diary),
            "garble" => self.session.on_bytes(
                b"8=FIX.4.4\x019=5\x0135=0\x0110=000\x01",
                self.now,
                &mut self.diary,
            ),
            "wait" => {
                let seconds: i64 = words.next().unwrap().parse().unwrap();
                for _ in 0..seconds * 10 {
                    self.now = Ts(self.now.0 + SECOND_NS / 10);
                    self.session.on_time(self.now, &mut self.diary);
                    self.drain();
                }
            }
            "send" => {
                let mut draft = Draft::new(words.next().unwrap().as_bytes());
                for word in words {
                    let (tag, text) = word.split_once('=').unwrap();
                    draft.body().text(tag.parse().unwrap(), text);
                }
                if let Err(error) = self.session.send(&draft, self.now, &mut self.diary) {
                    self.diary.lines.push(error.to_string());
                }
            }
            "in" => {
                let mut first = words.next().unwrap();
                let mut seq = self.seq;
                if let Some(number) = first.strip_prefix('#') {
                    seq = number.parse().unwrap();
                    first = words.next().unwrap();
                }
                self.seq = seq + 1;
                let mut fields: Vec<(i32, String)> = words
                    .map(|word| {
                        let (tag, text) = word.split_once('=').unwrap();
                        (tag.parse().unwrap(), text.replace('_', " "))
                    })
                    .collect();
                let (time, len) = value::time_text(self.now, true);
                let time = String::from_utf8_lossy(&time[..len]).into_owned();
                let mut writer = Writer::new();
                writer.begin(first.as_bytes()).number(34, seq);
                for (tag, text) in [(49, "THEM"), (52, &time), (56, "US")] {
                    let given = fields.iter().position(|field| field.0 == tag);
                    let text = given.map_or(text.to_owned(), |at| fields.remove(at).1);
                    writer.text(tag, &text);
                }
                for (tag, text) in fields {
                    writer.text(tag, &text);
                }
                let bytes = writer.finish(self.begin).to_vec();
                self.session.on_bytes(&bytes, self.now, &mut self.diary);
            }
            other => panic!("{other}"),
        }
        self.drain();
    }
}

fn config(role: Role) -> SessionConfig {
    SessionConfig::new(Version::Fix44, role, "US", "THEM")
}

fn play(rig: &mut Rig, steps: &str) {
    for line in steps.lines().map(str::trim).filter(|line| !line.is_empty()) {
        rig.step(line);
    }
}

fn check_with(config: SessionConfig, validator: Option<Validator>, steps: &str, want: &str) {
    let mut rig = Rig::new(config, validator);
    play(&mut rig, steps);
    let want: Vec<&str> = want
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(rig.diary.lines, want, "of\n{steps}");
}

fn check(config: SessionConfig, steps: &str, want: &str) {
    check_with(config, None, steps, want);
}

#[test]
fn an_acceptor_answers_a_logon_and_a_logout() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=6
         in 1 112=HELLO
         in 5",
        "logged on
         out A 1 98=0 108=6
         out 0 2 112=HELLO
         out 5 3
         logged out
         closed",
    );
}

#[test]
fn an_initiator_logs_on_and_out() {
    check(
        config(Role::Initiator),
        "connect
         in A 98=0 108=30
         logout
         in 5",
        "out A 1 98=0 108=30
         logged on
         out 5 2
         logged out
         closed",
    );
}

#[test]
fn who_does_not_answer_is_left() {
    check(
        config(Role::Initiator),
        "connect
         wait 11",
        "out A 1 98=0 108=30
         logged out
         closed",
    );
    check(
        config(Role::Initiator),
        "connect
         in A 98=0 108=30
         logout
         wait 3",
        "out A 1 98=0 108=30
         logged on
         out 5 2
         logged out
         closed",
    );
}

#[test]
fn silence_is_filled_and_asked_about() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=10
         wait 11
         in 0
         wait 13
         wait 12",
        "logged on
         out A 1 98=0 108=10
         out 0 2
         out 0 3
         out 1 4 112=TEST
         logged out
         closed",
    );
}

#[test]
fn whoever_is_wrong_before_the_logon_is_not_answered() {
    for first in [
        "in 0",
        "in D 11=x",
        "in A 98=0",
        "in A 98=0 108=-1",
        "in A 98=0 108=4294967295",
        "in A 49=OTHER 98=0 108=30",
        "in A 52=20010101-00:00:00 98=0 108=30",
    ] {
        check(
            config(Role::Acceptor),
            &format!("connect\n{first}"),
            "closed",
        );
    }
}

#[test]
fn what_is_missing_is_asked_for_once_and_handed_on_in_order() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in #4 D 11=c
         in #5 D 11=d
         in #2 D 43=Y 122=20260105-14:29:00 11=a
         in #3 D 43=Y 122=20260105-14:29:00 11=b
         in #6 D 11=e",
        "logged on
         out A 1 98=0 108=30
         out 2 2 7=2 16=0
         app D 2 43=Y 11=a
         app D 3 43=Y 11=b
         app D 4 11=c
         app D 5 11=d
         app D 6 11=e",
    );
}

#[test]
fn a_logon_that_comes_too_high_is_taken_and_the_rest_asked_for() {
    check(
        config(Role::Acceptor),
        "connect
         in #5 A 98=0 108=30
         in #1 4 43=Y 122=20260105-14:29:00 123=Y 36=5
         in #6 D 11=x",
        "logged on
         out A 1 98=0 108=30
         out 2 2 7=1 16=0
         app D 6 11=x",
    );
}

#[test]
fn requests_can_be_for_a_part_at_a_time() {
    let config = SessionConfig {
        resend_chunk: 2,
        ..config(Role::Acceptor)
    };
    check(
        config,
        "connect
         in A 98=0 108=30
         in #7 D 11=f
         in #2 D 43=Y 122=20260105-14:29:00 11=a
         in #3 D 43=Y 122=20260105-14:29:00 11=b
         in #4 4 43=Y 122=20260105-14:29:00 123=Y 36=6
         in #6 D 43=Y 122=20260105-14:29:00 11=e",
        "logged on
         out A 1 98=0 108=30
         out 2 2 7=2 16=3
         app D 2 43=Y 11=a
         app D 3 43=Y 11=b
         out 2 3 7=4 16=5
         out 2 4 7=6 16=0
         app D 6 43=Y 11=e
         app D 7 11=f",
    );
}

#[test]
fn what_was_sent_is_repeated_and_the_sessions_own_is_passed_over() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         send 8 37=a
         send 8 37=b 58=once
         in 1 112=x
         send 8 37=c
         in 2 7=1 16=0
         in 2 7=2 16=2
         in 2 7=9 16=0",
        "logged on
         out A 1 98=0 108=30
         out 8 2 37=a
         out 8 3 37=b 58=once
         out 0 4 112=x
         out 8 5 37=c
         out 4 1 43=Y 36=2 123=Y
         out 8 2 43=Y 37=a
         out 4 3 43=Y 36=5 123=Y
         out 8 5 43=Y 37=c
         out 8 2 43=Y 37=a",
    );
}

#[test]
fn what_is_sent_while_away_comes_when_it_is_missed() {
    check(
        config(Role::Initiator),
        "connect
         in A 98=0 108=30
         cut
         send D 11=x
         connect
         in A 98=0 108=30
         in 2 7=2 16=0",
        "out A 1 98=0 108=30
         logged on
         logged out
         out A 3 98=0 108=30
         logged on
         out D 2 43=Y 11=x
         out 4 3 43=Y 36=4 123=Y",
    );
}

#[test]
fn a_number_that_is_too_low_ends_it_unless_it_is_a_repetition() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in D 11=a
         in #2 D 43=Y 122=20260105-14:29:00 11=a
         in #2 D 43=Y 11=a
         in #2 D 11=a",
        "logged on
         out A 1 98=0 108=30
         app D 2 11=a
         out 3 2 45=2 58=Required tag missing 371=122 372=D 373=1
         out 5 3 58=MsgSeqNum too low, expecting 3 but received 2
         logged out
         closed",
    );
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in D 11=a
         in #2 D 43=Y 122=20270101-00:00:00 11=a
         in #3 5",
        "logged on
         out A 1 98=0 108=30
         app D 2 11=a
         out 3 2 45=2 58=SendingTime accuracy problem 372=D 373=10
         out 5 3
         logged out
         closed",
    );
}

#[test]
fn sequence_resets_of_both_kinds() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in 4 123=Y 36=9
         in #9 1 112=a
         in #3 4 36=20
         in #20 1 112=b
         in #0 4 36=5
         in #21 1 112=c
         in #0 4 36=18446744073709551615",
        "logged on
         out A 1 98=0 108=30
         out 0 2 112=a
         out 0 3 112=b
         out 3 4 45=0 58=Value is incorrect (out of range) for this tag 372=4 373=5
         out 0 5 112=c
         out 3 6 45=0 58=Value is incorrect (out of range) for this tag 371=36 372=4 373=5",
    );
}

#[test]
fn resets_are_said_and_answered() {
    let reset = SessionConfig {
        reset_on_logon: true,
        ..config(Role::Initiator)
    };
    check(
        reset,
        "connect
         in A 98=0 108=30 141=Y
         send D 11=x
         cut
         send D 11=y
         connect
         in #1 A 98=0 108=30 141=Y
         send D 11=z",
        "out A 1 98=0 108=30 141=Y
         logged on
         out D 2 11=x
         logged out
         out A 1 98=0 108=30 141=Y
         logged on
         out D 2 11=z",
    );
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in 1 112=a
         in #1 A 98=0 108=30 141=Y
         in 1 112=b",
        "logged on
         out A 1 98=0 108=30
         out 0 2 112=a
         logged on
         out A 1 98=0 108=30 141=Y
         out 0 2 112=b",
    );
}

#[test]
fn a_side_whose_numbers_are_lost_is_not_reset_by_itself() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in 1 112=a
         cut
         connect
         in #1 A 98=0 108=30",
        "logged on
         out A 1 98=0 108=30
         out 0 2 112=a
         logged out
         out 5 3 58=MsgSeqNum too low, expecting 3 but received 1
         closed",
    );
}

#[test]
fn the_next_expected_number_brings_what_is_missing_unasked() {
    let config = SessionConfig {
        next_expected: true,
        ..config(Role::Acceptor)
    };
    check(
        config.clone(),
        "connect
         in A 98=0 108=30 789=1
         send 8 37=a
         cut
         connect
         in #4 A 98=0 108=30 789=2
         in #2 D 43=Y 122=20260105-14:29:00 11=b
         in #3 4 43=Y 122=20260105-14:29:00 123=Y 36=4
         in #5 D 11=c",
        "logged on
         out A 1 98=0 108=30 789=2
         out 8 2 37=a
         logged out
         logged on
         out A 3 98=0 108=30 789=2
         out 8 2 43=Y 37=a
         out 4 3 43=Y 36=4 123=Y
         app D 2 43=Y 11=b
         app D 5 11=c",
    );
    check(
        config,
        "connect
         in A 98=0 108=30 789=7",
        "out 5 1 58=NextExpectedMsgSeqNum too high, expecting 1 but received 7
         closed",
    );
}

#[test]
fn garbled_bytes_are_missed_by_their_number() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         garble
         in #3 D 11=b",
        "logged on
         out A 1 98=0 108=30
         out 2 2 7=2 16=0",
    );
}

#[test]
fn wrong_names_times_and_versions_end_it() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in D 49=OTHER 115=FIRM 11=a
         in 5",
        "logged on
         out A 1 98=0 108=30
         out 3 2 128=FIRM 45=2 58=CompID problem 372=D 373=9
         out 5 3
         logged out
         closed",
    );
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in 0 52=20260105-14:27:59
         in 5",
        "logged on
         out A 1 98=0 108=30
         out 3 2 45=2 58=SendingTime accuracy problem 372=0 373=10
         out 5 3
         logged out
         closed",
    );
    let mut rig = Rig::new(config(Role::Acceptor), None);
    play(&mut rig, "connect\nin A 98=0 108=30");
    rig.begin = Version::Fix42;
    play(&mut rig, "in 1 112=a\nwait 3");
    assert_eq!(
        rig.diary.lines[2..],
        ["out 5 2 58=Incorrect BeginString", "logged out", "closed"]
    );
}

#[test]
fn what_the_application_does_not_want_is_told() {
    check(
        config(Role::Acceptor),
        "connect
         in A 98=0 108=30
         in X 11=a
         in Y 11=b
         in D 11=c",
        "logged on
         out A 1 98=0 108=30
         app X 2 11=a
         out j 2 45=2 58=Unsupported Message Type 372=X 380=3
         app Y 3 11=b
         out j 3 45=3 58=Conditionally Required Field Missing (55) 372=Y 380=5
         app D 4 11=c",
    );
    let old = SessionConfig::new(Version::Fix41, Role::Acceptor, "US", "THEM");
    check(
        old,
        "connect
         in A 98=0 108=30
         in X 11=a
         in Y 11=b
         in #9 D 11=c",
        "logged on
         out A 1 98=0 108=30
         app X 2 11=a
         out 3 2 45=2 58=Unsupported message type
         app Y 3 11=b
         out 3 3 45=3 58=Required tag missing (55)
         out 2 4 7=4 16=999999",
    );
}

/// Orders and reports of a made-up venue; the session's own facts are enough for the rest.
const VENUE: &str = "<fix type='FIX' major='4' minor='4'>
    <messages>
      <message name='Order' msgtype='D' msgcat='app'><field name='ClOrdID' required='Y'/></message>
      <message name='Report' msgtype='8' msgcat='app'><field name='OrderID' required='Y'/></message>
      <message name='Logon' msgtype='A' msgcat='admin'><field name='EncryptMethod' required='Y'/>
        <field name='HeartBtInt' required='Y'/></message>
    </messages>
    <fields><field name='ClOrdID' number='11' type='STRING'/>
      <field name='OrderID' number='37' type='STRING'/>
      <field name='EncryptMethod' number='98' type='INT'/>
      <field name='HeartBtInt' number='108' type='INT'/>
      <field name='BeginString' number='8' type='STRING'/>
      <field name='BodyLength' number='9' type='LENGTH'/>
      <field name='CheckSum' number='10' type='STRING'/>
      <field name='MsgSeqNum' number='34' type='SEQNUM'/>
      <field name='MsgType' number='35' type='STRING'/>
      <field name='SenderCompID' number='49' type='STRING'/>
      <field name='SendingTime' number='52' type='UTCTIMESTAMP'/>
      <field name='TargetCompID' number='56' type='STRING'/></fields>
  </fix>";

fn venue() -> Validator {
    let dictionary = Dictionary::parse("venue", VENUE).unwrap();
    Validator::new(dictionary.into(), Checks::STRICT)
}

#[test]
fn a_fill_with_unknown_fields_is_handed_on() {
    let steps = "connect
         in A 98=0 108=30
         in 8 37=a 9999=new
         in D 11=a 9999=new
         in 8 37=b";
    check_with(
        config(Role::Acceptor),
        Some(venue()),
        steps,
        "logged on
         out A 1 98=0 108=30
         app 8 2 37=a 9999=new ! Invalid tag number (9999)
         app D 3 11=a 9999=new ! Invalid tag number (9999)
         app 8 4 37=b",
    );
    let strict = SessionConfig {
        inbound: Inbound::Strict,
        ..config(Role::Acceptor)
    };
    check_with(
        strict,
        Some(venue()),
        steps,
        "logged on
         out A 1 98=0 108=30
         app 8 2 37=a 9999=new ! Invalid tag number (9999)
         out 3 2 45=2 58=Invalid tag number 371=9999 372=8 373=0
         out 3 3 45=3 58=Invalid tag number 371=9999 372=D 373=0
         app 8 4 37=b",
    );
}

#[test]
fn what_we_send_must_fit_and_takes_no_number_otherwise() {
    check_with(
        config(Role::Initiator),
        Some(venue()),
        "connect
         in A 98=0 108=30
         send D 37=x
         send D 11=a 9999=x
         send Q 11=a
         send D 11=a",
        "out A 1 98=0 108=30
         logged on
         not sent: Required tag missing (11)
         not sent: Invalid tag number (9999)
         not sent: Invalid MsgType
         out D 2 11=a",
    );
}

#[test]
fn over_fixt_the_logon_says_what_is_spoken() {
    let config = SessionConfig {
        version: Version::Fixt11,
        appl_version: Some(ApplVersion::Fix50Sp2),
        ..config(Role::Acceptor)
    };
    check(
        config.clone(),
        "connect
         in A 98=0 108=30 1137=9
         in X 11=a",
        "logged on
         out A 1 98=0 108=30 1137=9
         app X 2 11=a
         out j 2 45=2 58=Unsupported Message Type 372=X 380=3",
    );
    check(config.clone(), "connect\nin A 98=0 108=30", "closed");
    check(config, "connect\nin A 98=0 108=30 1137=7", "closed");
}

#[test]
fn a_session_is_over_with_its_time_and_begins_anew_with_the_next() {
    // It is 14:30:00 when it begins.
    let schedule = Schedule::Daily {
        zone: TimeZone::UTC,
        start: jiff::civil::time(14, 30, 10, 0),
        end: jiff::civil::time(14, 30, 0, 0),
        days: Vec::new(),
    };
    let config = SessionConfig {
        schedule,
        ..config(Role::Acceptor)
    };
    let mut rig = Rig::new(config, None);
    play(&mut rig, "connect\nin A 98=0 108=0");
    assert_eq!(rig.diary.lines, ["closed"]);
    play(&mut rig, "wait 11\nconnect\nin #1 A 98=0 108=0\nin 1 112=a");
    assert_eq!(rig.session.store().next_in(), 3);
    // A day later, within its time and then not.
    rig.now = Ts(rig.now.0 + 86_385 * SECOND_NS);
    rig.diary.lines.clear();
    play(
        &mut rig,
        "in 1 112=b\nwait 5\nwait 11\nconnect\nin #1 A 98=0 108=0",
    );
    assert_eq!(
        rig.diary.lines,
        [
            "out 0 3 112=b",
            "out 5 4 58=The session's time is over",
            "logged out",
            "closed",
            "logged on",
            "out A 1 98=0 108=0",
        ]
    );
}

/// A message that is encoded elsewhere, as those of the hot path are.
#[test]
fn an_encoded_message_is_kept_and_sent_as_it_is() {
    let mut rig = Rig::new(config(Role::Initiator), None);
    play(&mut rig, "connect\nin A 98=0 108=30");
    let mut writer = Writer::new();
    let mut encoded = |seq| {
        writer
            .begin(b"D")
            .text(49, "US")
            .text(56, "THEM")
            .number(34, seq)
            .time(52, START, true)
            .text(11, "x");
        writer.finish(Version::Fix44).to_vec()
    };
    let (early, right) = (encoded(3), encoded(2));
    let error = rig
        .session
        .send_encoded(3, &early, START, &mut rig.diary)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "not sent: want a whole message of number 2"
    );
    rig.session
        .send_encoded(2, &right, START, &mut rig.diary)
        .unwrap();
    assert_eq!(rig.session.output(), right);
    rig.drain();
    play(&mut rig, "in 2 7=2 16=2");
    assert_eq!(rig.diary.lines[2..], ["out D 2 11=x", "out D 2 43=Y 11=x"]);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

/// Both sides are ours, and the line between them breaks at any byte: each message arrives once, in
/// order, whatever was lost and whoever was away.
#[test]
fn nothing_is_lost_or_doubled_over_a_line_that_breaks() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let next_expected = seed % 3 == 0;
        let resend_chunk = seed % 4 * 3;
        let with = |role, sender: &str, target: &str| SessionConfig {
            next_expected,
            resend_chunk,
            early_max: 20,
            heartbeat_s: 1,
            ..SessionConfig::new(Version::Fix44, role, sender, target)
        };
        let new = |config| Session::new(config, Memory::new(START), None, DataTags::default());
        let mut sides = [
            (new(with(Role::Initiator, "US", "THEM")), Diary::default()),
            (new(with(Role::Acceptor, "THEM", "US")), Diary::default()),
        ];
        let mut now = START;
        let mut sent = [0u64; 2];
        let mut is_up = false;
        for step in 0..4_000 {
            now = Ts(now.0 + SECOND_NS / 20);
            let is_ending = step > 3_000;
            if !is_up {
                for (session, diary) in &mut sides {
                    session.on_connected(now, diary);
                }
                is_up = true;
            }
            for (side, (session, diary)) in sides.iter_mut().enumerate() {
                if !is_ending && random.below(3) == 0 {
                    let mut draft = Draft::new(b"D");
                    draft.body().number(11, sent[side]);
                    session.send(&draft, now, diary).unwrap();
                    sent[side] += 1;
                }
                session.on_time(now, diary);
            }
            let is_broken = !is_ending && random.below(15) == 0;
            for from in 0..2 {
                let bytes = sides[from].0.output().to_vec();
                let most = bytes.len() as u64;
                let len = random.below(most + 1).max(random.below(most + 1)) as usize;
                sides[from].0.written(len);
                let (session, diary) = &mut sides[1 - from];
                session.on_bytes(&bytes[..len], now, diary);
            }
            if is_broken || sides.iter().any(|(session, _)| session.is_closing()) {
                for (session, diary) in &mut sides {
                    session.on_disconnected(now, diary);
                }
                is_up = false;
            }
        }
        for (side, (_, diary)) in sides.iter().enumerate() {
            let mut want = 0;
            for line in diary.lines.iter().filter(|line| line.starts_with("app")) {
                assert!(
                    line.ends_with(&format!(" 11={want}")),
                    "seed {seed}: {line}"
                );
                want += 1;
            }
            assert_eq!(want, sent[1 - side], "seed {seed}, side {side}");
            assert!(want > 500, "seed {seed}");
        }
    }
}
