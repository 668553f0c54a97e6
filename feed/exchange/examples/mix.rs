//! How fast is a session generated in memory, and what is it made of?
//!
//! ```text
//! cargo run --release -p exchange --example mix -- [symbols] [seconds] [rate] [seed]
//! ```

use std::time::Instant;

use exchange::Session;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut next = |or: u32| arguments.next().unwrap_or(Ok(or)).expect("a number");
    let (symbols, seconds, rate, seed) = (next(8000), next(60), next(166_000), next(1));
    let session = Session {
        symbols,
        seconds,
        rate,
        seed: u64::from(seed),
        ..Session::default()
    };
    let (mut bytes, mut checksum) = (0u64, 0u64);
    let start = Instant::now();
    let truth = exchange::run(&session, &mut |ts_ns, message| {
        bytes += message.len() as u64;
        checksum = checksum.rotate_left(5) ^ ts_ns ^ u64::from(message[message.len() - 1]);
        Ok(())
    })?;
    let took = start.elapsed().as_secs_f64();
    let messages = truth.messages as f64;
    println!(
        "{messages} messages, {:.1} bytes each, {took:.2} s, {:.2} M/s, checksum {checksum:016x}",
        bytes as f64 / messages,
        messages / took / 1e6
    );
    for (letter, count) in &truth.by_type {
        println!(
            "{letter} {count:>9} {:>7.3} %",
            *count as f64 * 100.0 / messages
        );
    }
    let live: u64 = truth.symbols.iter().map(|symbol| symbol.live_orders).sum();
    let trades: u64 = truth.symbols.iter().map(|symbol| symbol.trades).sum();
    println!(
        "{:.1} live orders a symbol, {trades} trades",
        live as f64 / f64::from(symbols)
    );
    Ok(())
}
