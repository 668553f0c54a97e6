//! Orders, and the checks before they leave.

use std::path::PathBuf;

use bus::oms::{Encoder, FixConfig};
use serde::{Deserialize, Serialize};

use super::soup::is_host_and_port;
use super::units::Ratio;

/// Checks before an order leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Risk {
    /// Most shares of one order.
    pub qty_max: u32,
    /// Most currency of one order, in whole units.
    pub notional_max: u64,
    /// Furthest a price may be from the live book.
    pub collar: Ratio,
    /// Most orders of a symbol in a second of event time.
    pub orders_per_second: u32,
    /// Blocks every send while this file exists, from any process and over restarts.
    pub kill_file: Option<PathBuf>,
}

/// Where orders go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Write FIX messages to files in the run directory.
    pub file: bool,
    /// Send them to this TCP address as well, `127.0.0.1:9878`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// SenderCompID (49).
    pub sender: String,
    /// TargetCompID (56).
    pub target: String,
    /// What to do with orders of which nobody knows, after a crash, whether they left.
    pub in_doubt: InDoubt,
}

/// What to do with orders of which nobody knows, after a crash, whether they left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InDoubt {
    /// Send them again under the same ClOrdID, flagged `PossResend=Y`.
    Possresend,
    /// Ask the TCP peer for each (OrderStatusRequest), and send again, flagged, what it does not
    /// know.
    Query,
    /// Send a cancel for each (OrderCancelRequest).
    Cancel,
    /// Refuse to go on, and name them.
    Halt,
}

impl Risk {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        // The gate remembers as many times of orders for every symbol that there may be.
        if !(1..=200).contains(&self.orders_per_second) {
            return Err(format!(
                "risk.orders_per_second is {}, want 1 to 200",
                self.orders_per_second
            ));
        }
        Ok(())
    }
}

impl Default for Risk {
    fn default() -> Risk {
        Risk {
            qty_max: 5_000,
            notional_max: 250_000,
            collar: Ratio(30_000),
            orders_per_second: 5,
            kill_file: None,
        }
    }
}

impl Orders {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.in_doubt == InDoubt::Query && self.tcp.is_none() {
            return Err("orders.in_doubt is `query`, but there is no orders.tcp to ask".into());
        }
        let fix = FixConfig {
            sender: self.sender.clone(),
            target: self.target.clone(),
            sender_sub: None,
            account: None,
        };
        Encoder::new(&fix).map_err(|e| format!("orders: {e}"))?;
        if let Some(address) = &self.tcp
            && !is_host_and_port(address)
        {
            return Err(format!(
                "orders.tcp is `{address}`, want HOST:PORT (like \"127.0.0.1:9878\")"
            ));
        }
        Ok(())
    }
}

impl Default for Orders {
    fn default() -> Orders {
        Orders {
            file: true,
            tcp: None,
            sender: "TAPELINE".into(),
            target: "OMS".into(),
            in_doubt: InDoubt::Possresend,
        }
    }
}
