//! Messages that are wrong, or say what cannot be.

use super::*;

/// The same messages in a file and in packets have the same anomalies, and the same results
/// otherwise as if the wrong ones had not been there.
fn harmless(more: &[Vec<u8>], anomalies: &[(&str, u64)], says: &[&str]) {
    let messages = with(more);
    let good = Folder::quick("good");
    let (ended, without) = replay(&good, &good.write("good.itch", itch_file(&with(&[]))), &[]);
    ended.expect(0);
    for (name, bytes) in [
        ("bad.itch", itch_file(&messages)),
        ("bad.pcap", pcap_of(&messages)),
    ] {
        let (_folder, run) = counted(name, &bytes, anomalies, says);
        assert_eq!(manifest(&run)["counts"]["messages"], messages.len() as u64);
        for name in ["AAA", "BBB"] {
            let (mut found, mut wanted) = (symbol(&run, name), symbol(&without, name));
            // What did not fit a book stays on its record.
            found["evidence"].take();
            wanted["evidence"].take();
            found["stale"].take();
            wanted["stale"].take();
            assert_eq!(found, wanted, "{name} with {anomalies:?}");
        }
    }
}

#[test]
fn times_that_nothing_of_the_input_is_between_are_told() {
    let folder = Folder::quick("outside");
    let file = folder.write("day.pcap", pcap_of(&little_session()));
    for (args, says) in [
        (
            ["--from", "19:59"],
            "nothing of the input is at --from, 19:59",
        ),
        (
            ["--until", "04:01"],
            "nothing of the input is before --to, 04:01",
        ),
    ] {
        let (ended, run) = replay(&folder, &file, &args);
        let ended = ended.expect(0).says(&[says]);
        assert!(ended.stdout.contains(says), "{}", ended.stdout);
        let outside = manifest(&run)["outside"].clone();
        assert!(outside.as_str().unwrap().contains(says), "{outside}");
        assert_eq!(manifest(&run)["counts"]["windows"], 0);
    }
    let (ended, run) = replay(&folder, &file, &["--from", "09:30", "--to", "16:00"]);
    ended.expect(0);
    assert!(manifest(&run)["outside"].is_null());
}

#[test]
fn unknown_message_types_are_counted_and_skipped() {
    let mut message = delete(LATE_NS, 1, 1);
    message[0] = b'z';
    let says = ["bad.", "unknown_type 2", "unknown type 'z' of 19 bytes"];
    harmless(
        &[message.clone(), message],
        &[("unknown_type", 2)],
        &says[1..],
    );
}

#[test]
fn messages_of_a_wrong_length_are_counted_and_skipped() {
    let mut message = delete(LATE_NS, 1, 1);
    message.push(0);
    harmless(
        &[message],
        &[("bad_length", 1)],
        &["bad_length", "20", "19"],
    );
}

#[test]
fn fields_with_a_wrong_value_are_counted_and_skipped() {
    let message = add(LATE_NS, 1, "AAA", 9_999, b'?', 100, 99_900);
    harmless(&[message], &[("bad_field", 1)], &["bad_field"]);
}

#[test]
fn orders_that_do_not_exist_are_counted() {
    let missing = [
        executed(LATE_NS, 1, 777_777, 100),
        cancel(LATE_NS, 1, 777_778, 100),
        delete(LATE_NS, 2, 777_779),
    ];
    harmless(&missing, &[("unknown_order", 3)], &["unknown_order"]);
}

#[test]
fn an_order_of_price_zero_or_of_no_shares_is_counted_and_in_no_book() {
    let zero = add(LATE_NS, 1, "AAA", 9_999, b'B', 100, 0);
    harmless(&[zero], &[("bad_price", 1)], &["bad_price"]);
    let none = add(LATE_NS, 1, "AAA", 9_999, b'B', 0, 99_900);
    harmless(&[none], &[("bad_qty", 1)], &["bad_qty"]);
}

#[test]
fn executing_more_than_there_is_takes_what_there_is() {
    let messages = with(&[
        add(LATE_NS, 1, "AAA", 9_999, b'B', 100, 99_950),
        executed(LATE_NS + 1, 1, 9_999, 500),
        add(LATE_NS + 2, 2, "BBB", 9_998, b'B', 100, 99_950),
        cancel(LATE_NS + 3, 2, 9_998, 101),
    ]);
    let (_folder, run) = counted(
        "over.pcap",
        &pcap_of(&messages),
        &[("overfill", 2)],
        &["overfill"],
    );
    for name in ["AAA", "BBB"] {
        let bid = symbol(&run, name)["bid"].clone();
        assert_eq!(bid[0], "9.99", "the order is gone");
        assert!(bid[1].as_i64().unwrap() > 0);
    }
}

#[test]
fn time_that_goes_back_is_counted_and_its_trades_still_count() {
    let messages = with(&[
        hidden_trade(LATE_NS, 1, "AAA", 7, 100_000),
        hidden_trade(LATE_NS - 50_000_000, 1, "AAA", 7, 100_000),
    ]);
    let says = ["time_backwards", "time goes back by 50000000 ns"];
    let (_folder, run) = counted(
        "back.itch",
        &itch_file(&messages),
        &[("time_backwards", 1)],
        &says,
    );
    let good = Folder::quick("good");
    let (ended, without) = replay(&good, &good.write("good.itch", itch_file(&with(&[]))), &[]);
    ended.expect(0);
    let volume = |run: &Path| symbol(run, "AAA")["volume"].as_i64().unwrap();
    assert_eq!(volume(&run), volume(&without) + 14);
    assert_eq!(
        manifest(&run)["counts"]["late"],
        0,
        "50 ms is within the lateness"
    );
}

/// One time in the year's future must not close the windows of all that comes after it. Wherever
/// it stands: first or last of what is read at once, in a file or in packets, at any pace.
#[test]
fn one_time_far_in_the_future_makes_nothing_late() {
    let wanted = little_session();
    let good = Folder::quick("good");
    let (ended, without) = replay(&good, &good.write("good.itch", itch_file(&wanted)), &[]);
    ended.expect(0);
    let windows = manifest(&without)["counts"]["windows"].clone();
    for at in [0, 1, 63, 64, 127] {
        let mut messages = little_session();
        // As in a real feed, the message after it was captured at its time or later.
        let captured = |index: usize| {
            let next = &wanted[if index > at { index - 1 } else { index }];
            next[5..11]
                .iter()
                .fold(0, |ns, byte| ns << 8 | u64::from(*byte))
        };
        messages.insert(at, trading(captured(at) + 100_000_000_000, 1, "AAA"));
        let says = ["time_future", "ahead of all others"];
        let capture = pcap_at(&messages, captured);
        for (name, bytes) in [("far.itch", itch_file(&messages)), ("far.pcap", capture)] {
            println!("{name}, message {at}");
            let (folder, run) = counted(name, &bytes, &[("time_future", 1)], &says);
            let counts = manifest(&run)["counts"].clone();
            assert_eq!(counts["messages"], messages.len() as u64);
            assert_eq!(counts["late"], 0, "message {at} of {name}");
            assert_eq!(counts["windows"], windows, "message {at} of {name}");
            let fast = digests(&run);
            let (ended, paced) = replay(&folder, &folder.join(name), &["--speed", "1000x"]);
            ended.expect(0);
            assert!(
                digests(&paced) == fast,
                "message {at} of {name}: another result at a pace"
            );
        }
    }
}

/// A session with more than one of its limits has room for: what is beyond is in no book, and said.
#[test]
fn what_is_beyond_a_limit_is_said_and_the_rest_is_as_it_was() {
    let at = |n: u64| OPEN_NS + n * 1_000_000;
    let mut messages = vec![
        trading(at(0), 1, "AAA"),
        trading(at(0), 2, "BBB"),
        trading(at(0), 9, "ZZZ"),
        add(at(1), 9, "ZZZ", 900_000, b'B', 100, 50_000),
        add(at(1), 2, "BBB", 900_001, b'B', 100, 50_000),
    ];
    // More than 1,024 orders and as many prices of one symbol. Of ZZZ there are two messages, and its name.
    for n in 0..1_100u64 {
        messages.push(add(
            at(2 + n),
            1,
            "AAA",
            n + 1,
            b'B',
            100,
            100 * (n as u32 + 1),
        ));
    }
    let folder = Folder::quick("limits");
    let file = folder.write("many.itch", itch_file(&messages));
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    assert!(manifest(&run)["full"].is_null());
    let whole = symbol(&run, "BBB");
    for (name, value, full, lacks) in [
        ("symbols", 5, 3, "ZZZ"),
        ("orders", 1_024, 1_100 + 2 - 1_024, "AAA"),
        ("levels", 1_024, 1_100 + 2 - 1_024, "AAA"),
    ] {
        let text = format!("[limits]\n{name} = {value}\n{SMALL}");
        let config = folder.write("limits.toml", text);
        let more = ["-c", config.to_str().unwrap()];
        let says = format!("limits.{name} is {value}");
        let says = if name == "symbols" {
            says
        } else {
            says.replace(" is", "")
        };
        let (ended, run) = replay(&folder, &file, &more);
        let ended = ended.expect(0).says(&[&says]);
        assert!(ended.stdout.contains(&says), "{}", ended.stdout);
        let found = manifest(&run);
        assert_eq!(found["anomalies"]["full"], full, "{name}");
        assert_eq!(found["full"]["events"], full);
        assert_eq!(found["full"][name], value);
        let symbols = fs::read_to_string(run.join("symbols.json")).unwrap();
        let symbols: serde_json::Value = serde_json::from_str(&symbols).unwrap();
        let all = symbols.as_array().unwrap();
        let lacking = all.iter().find(|symbol| symbol["symbol"] == lacks);
        // A symbol beyond the limit has no book at all; one that lacks orders is stale.
        let is_stale = lacking.map(|symbol| symbol["stale"].as_bool());
        let wanted = (name != "symbols").then_some(Some(true));
        assert_eq!(is_stale, wanted, "{name}");
        assert_eq!(symbol(&run, "BBB"), whole, "{name}");
        let (ended, _) = replay(&folder, &file, &[&more[..], &["--strict"]].concat());
        ended.expect(3).says(&[&says]);
    }
    let config = folder.join("limits.toml");
    let config = config.to_str().unwrap();
    tapeline(["config", "check", "-c", config]).expect(0);
    tapeline(["config", "check", config]).expect(0);
    tapeline(["config", "check"]).expect(2);
}
