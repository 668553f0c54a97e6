//! OUCH messages of either side: whatever stands there is a message or an error, and the elements of an
//! appendage fill it. A name of an order is read back where it is one.

use bus::oms::Date;
use bus::ouch::{Appendage, Asked, Told, Token};

const DAY: Date = Date {
    year: 2026,
    month: 1,
    day: 5,
};

fn check_appendage(appendage: Appendage<'_>, bytes: &[u8]) {
    let all: usize = appendage
        .elements()
        .map(|(_, value)| value.len() + 2)
        .sum();
    assert!(all <= bytes.len());
    // Its length stands before it, and it is the end of the message.
    if all > 0 {
        let length = &bytes[bytes.len() - all - 2..][..2];
        assert_eq!(length, (all as u16).to_be_bytes());
    }
}

fn check_name(letters: [u8; 14]) {
    if let Some(id) = Token(letters).order(DAY) {
        assert_eq!(Token::of(&id.key()).0, letters);
    }
}

/// Checks one message, as each side would read it.
pub fn check(bytes: &[u8]) {
    match Asked::parse(bytes) {
        Ok(Asked::EnterOrder(message, appendage)) => {
            assert_eq!(message.as_bytes(), &bytes[..message.as_bytes().len()]);
            check_name(message.cl_ord_id);
            check_appendage(appendage, bytes);
        }
        Ok(Asked::ReplaceOrder(message, appendage)) => {
            check_name(message.cl_ord_id);
            check_appendage(appendage, bytes);
        }
        Ok(
            Asked::CancelOrder(_, appendage)
            | Asked::ModifyOrder(_, appendage)
            | Asked::AccountQuery(_, appendage),
        ) => check_appendage(appendage, bytes),
        Err(bad) => assert!(!bad.to_string().is_empty()),
    }
    match Told::parse(bytes) {
        Ok(
            Told::SystemEvent(_, appendage)
            | Told::Accepted(_, appendage)
            | Told::Replaced(_, appendage)
            | Told::Canceled(_, appendage)
            | Told::AiqCanceled(_, appendage)
            | Told::Executed(_, appendage)
            | Told::BrokenTrade(_, appendage)
            | Told::Rejected(_, appendage)
            | Told::CancelPending(_, appendage)
            | Told::CancelReject(_, appendage)
            | Told::PriorityUpdate(_, appendage)
            | Told::Modified(_, appendage)
            | Told::Restated(_, appendage)
            | Told::AccountQueryResponse(_, appendage),
        ) => check_appendage(appendage, bytes),
        Err(bad) => assert!(!bad.to_string().is_empty()),
    }
}
