//! A store of objects as a log's tier: what is moved there is read from there, and whatever a
//! store does, nothing is taken away here before it was read back and found equal.

#![cfg(feature = "object-store")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path as FilePath;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bus::disk::tier::{self, Tier};
use bus::disk::{Backend, Cause, Directory, DiskError};
use bus::log::{Log, LogError, LogReader, Record, Retention, retain};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use objects::{MARKER, ObjectTier, Patience, Place, place_at};

use support::{EVENTS, Fault, Faulty, check, event_at, hex, log, temporary};

/// Short, so that what never answers is soon given up.
fn patience() -> Patience {
    let moment = Duration::from_millis(300);
    Patience {
        connect: moment,
        request: moment,
        retries: 1,
        whole: 2 * moment,
    }
}

fn tier_over(store: &Faulty, location: &str, log: &str) -> ObjectTier {
    let place = Place::new(
        Arc::new(store.clone()),
        Path::from("cold"),
        location,
        patience(),
    );
    ObjectTier::new(Arc::new(place.unwrap()), log)
}

/// One store for each name, as long as the process runs: `faulty://name` opens it.
fn store(location: &str) -> Faulty {
    static STORES: OnceLock<std::sync::Mutex<Vec<(String, Faulty)>>> = OnceLock::new();
    let mut stores = STORES.get_or_init(Default::default).lock().unwrap();
    if let Some((_, store)) = stores.iter().find(|(name, _)| name == location) {
        return store.clone();
    }
    stores.push((location.to_owned(), Faulty::default()));
    stores.last().unwrap().1.clone()
}

fn open(location: &str, log: &str) -> Result<Arc<dyn Tier>, DiskError> {
    Ok(Arc::new(tier_over(&store(location), location, log)))
}

/// A log, a store that only it has, and a policy that moves to there.
fn with_store(name: &str) -> (bus::log::LogConfig, std::path::PathBuf, Faulty, Retention) {
    tier::open_urls_with(open);
    let (config, root) = log(name);
    let location = format!("faulty://{name}");
    let policy = Retention {
        tier: Some(location.clone()),
        ..Retention::default()
    };
    (config, root, store(&location), policy)
}

fn local(dir: &FilePath) -> Vec<u64> {
    Directory::new(dir).list_local().unwrap()
}

#[test]
fn a_log_is_read_and_gone_on_with_straight_through_a_store() {
    let (config, root, store, policy) = with_store("through");
    let dir = &config.dir;
    let before = local(dir);
    let done = retain(dir, &policy, 1200, SystemTime::now()).unwrap();
    assert!(done.moved_segments > 1, "{done:?}");
    assert_eq!(local(dir), before[done.moved_segments as usize..]);
    assert_eq!(check(dir), 0);
    for cell in (0..EVENTS).step_by(61) {
        let mut reader = LogReader::open_from(dir, cell).unwrap();
        let first = reader.next().unwrap().unwrap().1;
        assert_eq!(first, Record::Event(event_at(cell)));
    }
    assert_eq!(bus::log::verify(dir).unwrap().cells, EVENTS);
    let index = bus::log::index(dir).unwrap();
    let tiered = index.iter().filter(|segment| segment.is_tiered).count();
    assert_eq!(tiered as u64, done.moved_segments);
    // A writer goes on behind it.
    let disk = config.open_disk(Backend::Plain).unwrap();
    let (mut log, found) = Log::resume(config.clone(), disk).unwrap();
    assert_eq!(found.cells, EVENTS);
    log.finish().unwrap();
    drop(log);
    // Then the oldest go for good, from the store too.
    let kept = retain(dir, &policy, 1200, SystemTime::now()).unwrap();
    let policy = Retention {
        bytes_max: Some(kept.kept_bytes - 1),
        ..policy
    };
    let done = retain(dir, &policy, 1200, SystemTime::now()).unwrap();
    assert!(done.removed_segments > 0, "{done:?}");
    assert_eq!(check(dir), done.first_cell);
    let cold = tier_over(&store, "faulty://through", &hex(&config.uuid));
    assert_eq!(cold.list().unwrap().first(), Some(&done.first_segment));
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn whatever_a_request_meets_nothing_is_lost_and_the_next_time_ends_the_work() {
    for fault in [
        Fault::Refused,
        Fault::DoneAndRefused,
        Fault::Short,
        Fault::Spoilt,
        Fault::Silence,
    ] {
        let mut errors = 0;
        // Each silence is waited for.
        let step = if fault == Fault::Silence { 5 } else { 1 };
        for nth in (1..).step_by(step) {
            let (config, root, store, policy) = with_store(&format!("{fault:?}-{nth}"));
            let dir = &config.dir;
            store.plan(Some((nth, fault)));
            let began = Instant::now();
            let done = retain(dir, &policy, EVENTS, SystemTime::now());
            assert!(began.elapsed() < Duration::from_secs(10), "{fault:?} {nth}");
            let requests = store.requests();
            if let Err(error) = &done {
                errors += 1;
                let text = error.to_string();
                assert!(
                    text.contains(&format!(" faulty://{fault:?}-{nth}/")),
                    "{text}"
                );
                assert!(!text.contains('\n'), "{text}");
                let is_spoilt = fault == Fault::Spoilt;
                assert!(error.may_pass() || is_spoilt, "{fault:?} {nth}: {text}");
            }
            // Nothing that is wrong in the store is all there is.
            store.plan(None);
            assert_eq!(check(dir), 0, "{fault:?} {nth}");
            retain(dir, &policy, EVENTS, SystemTime::now()).unwrap();
            assert_eq!(local(dir).len(), 3, "the last segment and two spares");
            assert_eq!(check(dir), 0, "{fault:?} {nth}");
            std::fs::remove_dir_all(&root).unwrap();
            if requests < nth {
                break;
            }
        }
        assert!(errors > 2, "{fault:?}: {errors} errors");
    }
}

#[test]
fn a_log_that_is_all_here_does_not_ask_the_store() {
    let (config, root, store, policy) = with_store("here");
    let dir = &config.dir;
    // The marker, three listings, and then the first segment.
    store.plan(Some((5, Fault::Refused)));
    let error = retain(dir, &policy, EVENTS, SystemTime::now()).unwrap_err();
    assert!(
        error.to_string().contains(".seg.zst: write failed"),
        "{error}"
    );
    assert!(dir.join("TIER").is_file());
    store.plan(None);
    assert_eq!(check(dir), 0);
    assert_eq!(bus::log::verify(dir).unwrap().cells, EVENTS);
    assert_eq!(store.requests(), 0);
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_store_that_is_not_the_one_is_refused() {
    let (config, root, store, policy) = with_store("wrong");
    let dir = &config.dir;
    let folder = hex(&config.uuid);
    let cold = tier_over(&store, "faulty://wrong", &folder);
    let error = cold.list().unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("faulty://wrong/{folder}: list failed: ")),
        "{error}"
    );
    assert!(error.contains(MARKER), "{error}");
    retain(dir, &policy, 1200, SystemTime::now()).unwrap();
    // The same bucket, emptied; and then the objects without the marker.
    let marker = Path::from(format!("cold/{folder}/{MARKER}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(store.inner.delete(&marker)).unwrap();
    let error = bus::log::verify(dir).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("list failed: there is no object TIER"),
        "{error}"
    );
    assert!(!error.is_damage(), "{error}");
    runtime
        .block_on(store.inner.put(&marker, "x".into()))
        .unwrap();
    // What others put there is not ours to judge.
    for name in ["notes.txt", "12.seg.zst", "0000000001.seg.zst/inside"] {
        let other = Path::from(format!("cold/{folder}/{name}"));
        runtime
            .block_on(store.inner.put(&other, "x".into()))
            .unwrap();
    }
    assert_eq!(check(dir), 0);
    let gone = Path::from(format!("cold/{folder}/0000000001.seg.zst"));
    runtime.block_on(store.inner.delete(&gone)).unwrap();
    let error = bus::log::verify(dir).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(
        error.to_string().contains("the segment is missing"),
        "{error}"
    );
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn what_is_moved_is_whole_zstd_for_anyone_and_edges_cost_little() {
    let (config, root, store, policy) = with_store("plain");
    let dir = &config.dir;
    let first = std::fs::read(dir.join("0000000001.seg")).unwrap();
    let done = retain(dir, &policy, EVENTS, SystemTime::now()).unwrap();
    let key = Path::from(format!("cold/{}/0000000001.seg.zst", hex(&config.uuid)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let bytes = runtime.block_on(async { store.inner.get(&key).await?.bytes().await });
    assert_eq!(zstd::decode_all(&bytes.unwrap()[..]).unwrap(), first);
    // One tier that is kept, as the program keeps it: each segment's edges are read once.
    let cold = tier_over(&store, "faulty://plain", &hex(&config.uuid));
    store.plan(None);
    for _ in 0..3 {
        let numbers = cold.list().unwrap();
        assert_eq!(numbers.len() as u64, done.moved_segments);
        for &number in &numbers {
            let len = cold.len(number).unwrap();
            let (mut head, mut tail) = ([0; 4], [0; 9]);
            cold.read(number, 0, &mut head).unwrap();
            cold.read(number, len - 9, &mut tail).unwrap();
            assert_eq!(head, 0xfd2f_b528_u32.to_le_bytes());
            assert_eq!(tail[5..], 0x8f92_eab1_u32.to_le_bytes());
        }
    }
    assert_eq!(store.requests(), 3 + 2 * done.moved_segments);
    std::fs::remove_dir_all(&root).unwrap();
}

/// Bytes that do not compress, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn a_long_segment_goes_in_pieces_and_is_there_as_a_whole_or_not_at_all() {
    let store = Faulty::default();
    let cold = tier_over(&store, "faulty://pieces", "log");
    cold.make().unwrap();
    let bytes = noise((20 << 20) + 3);
    let put = || {
        cold.put(5, &mut |sink| {
            bytes.chunks(1_000_003).try_for_each(&mut *sink)
        })
    };
    store.plan(None);
    put().unwrap();
    // To begin, three pieces, and to end.
    assert_eq!(store.requests(), 5);
    assert_eq!(cold.list().unwrap(), [5]);
    assert_eq!(cold.len(5).unwrap(), bytes.len() as u64);
    let mut read = vec![0; 3 << 20];
    cold.read(5, 7 << 20, &mut read).unwrap();
    assert_eq!(read, bytes[7 << 20..10 << 20]);
    cold.remove(5).unwrap();
    cold.remove(5).unwrap();
    for fault in [Fault::Refused, Fault::Silence] {
        for nth in 1..=5 {
            store.plan(Some((nth, fault)));
            let error = put().unwrap_err().to_string();
            let name = "faulty://pieces/log/0000000005.seg.zst: write failed: ";
            assert!(error.starts_with(name), "{error}");
            store.plan(None);
            assert!(cold.list().unwrap().is_empty(), "{fault:?} {nth}");
        }
    }
    // What cannot be read here does not become an object either.
    let own = DiskError {
        op: bus::disk::Op::Read,
        path: "here".into(),
        cause: Cause::Errno(5),
    };
    let done = cold.put(6, &mut |sink| {
        sink(&bytes)?;
        Err(own.clone())
    });
    assert_eq!(done, Err(own));
    assert!(cold.list().unwrap().is_empty());
}

/// Answers every connection on this machine with `answer`, or with silence.
fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            match answer {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => silent.push(stream),
            }
        }
    });
    format!("http://{address}")
}

fn s3(endpoint: &str) -> ObjectTier {
    let env = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "name"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_TIMEOUT", "1h"),
        ("BUCKET", "another"),
    ];
    let env = env.map(|(name, value)| (name.into(), value.into()));
    let place = place_at("s3://cold/runs", env, patience()).unwrap();
    ObjectTier::new(Arc::new(place), "log")
}

#[test]
fn a_server_that_is_away_silent_or_talks_nonsense_is_one_clear_error_in_time() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let page = "HTTP/1.1 403 Forbidden\r\ncontent-length: 60\r\n\r\n\
                <Error>\n  <Code>AccessDenied</Code>\n  <Message>no</Message></Error>";
    let short = "HTTP/1.1 206 Partial Content\r\ncontent-length: 100\r\n\
                 content-range: bytes 0-99/100\r\nlast-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\
                 etag: \"x\"\r\n\r\nonly this";
    for (endpoint, words) in [
        (format!("http://{nobody}"), "Connection refused"),
        (server(None), "no answer within 600ms, time"),
        (server(Some(page)), "AccessDenied, 403 Forbidden"),
        (server(Some("hello\r\n\r\n")), "HTTP"),
    ] {
        let cold = s3(&endpoint);
        let began = Instant::now();
        let errors = [
            cold.make().unwrap_err(),
            cold.list().unwrap_err(),
            cold.len(1).unwrap_err(),
            cold.read(1, 0, &mut [0; 100]).unwrap_err(),
            cold.put(1, &mut |sink| sink(b"bytes")).unwrap_err(),
            cold.remove(1).unwrap_err(),
        ];
        assert!(began.elapsed() < Duration::from_secs(6), "{endpoint}");
        for error in errors {
            is_clear(error, words);
        }
    }
    // It says how long the object is, and then does not send so much.
    let cold = s3(&server(Some(short)));
    assert_eq!(cold.len(1), Ok(100));
    is_clear(cold.read(1, 0, &mut [0; 100]).unwrap_err(), "");
}

/// One line that names the object, and one of `words` in it.
fn is_clear(error: DiskError, words: &str) {
    let text = error.to_string();
    assert!(text.starts_with("s3://cold/runs/log"), "{text}");
    assert!(!text.contains('\n') && text.len() < 600, "{text}");
    assert!(matches!(error.cause, Cause::Store(_)), "{text}");
    assert!(LogError::Disk(error).may_pass());
    let says = words.split(", ").any(|word| text.contains(word));
    assert!(says, "{text}: want {words}");
}

#[test]
fn a_url_that_is_none_of_ours_is_refused_in_words() {
    for (location, why) in [
        ("file:///cold", "a directory is named by its path alone"),
        ("memory:///cold", "want s3://bucket/folder"),
        ("s3:///cold", "want s3://bucket/folder"),
        ("s3://cold?region=x", "want s3://bucket/folder"),
        ("s3://cold:80/x", "want s3://bucket/folder"),
        ("s3://a:b@cold/x", "credentials come from the environment"),
        ("s3://cold/a//b", "empty path segment"),
    ] {
        let error = place_at(location, [], patience()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{location}: open failed: ")),
            "{error}"
        );
        assert!(error.contains(why), "{error}");
    }
    // A key without its secret is found before anything is asked.
    let half = [("AWS_ACCESS_KEY_ID".into(), "name".into())];
    let error = place_at("s3://cold", half, patience()).unwrap_err();
    assert!(error.to_string().contains("SecretAccessKey"), "{error}");
    for fine in ["s3://cold", "s3://cold/", "s3://cold/a/b/"] {
        place_at(fine, [], patience()).unwrap();
    }
}

#[test]
fn a_directory_beside_a_store_is_still_a_directory() {
    let root = temporary("folder");
    tier::open_urls_with(open);
    assert!(tier::check(root.to_str().unwrap()).is_ok());
    assert!(tier::check("faulty://any").is_ok());
    assert!(tier::check("a\nb").is_err());
    let opened = tier::open(root.to_str().unwrap(), &[7; 16]).unwrap();
    opened.make().unwrap();
    assert!(root.join(hex(&[7; 16])).is_dir());
    std::fs::remove_dir_all(&root).unwrap();
}
