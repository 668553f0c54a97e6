//! How fast a shard's orders leave: so many in a second, and a few at once.
//!
//! A bucket holds credit of time, and an order costs the time that one has at the steady rate. Who has
//! to wait is queued, up to a bound, or refused; so says the setting. What waits may still be stopped.

/// The setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Orders in a second of the machine's time, at least 1.
    pub orders_per_second: u32,
    /// How many may leave at once after a pause, at least 1.
    pub burst: u32,
    /// How many may wait; `None`: what would have to wait is refused.
    pub queue_max: Option<usize>,
}

/// What is left of it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    setting: Throttle,
    credit_ns: u64,
    last_ns: Option<u64>,
}

impl Bucket {
    /// A full one.
    pub fn new(setting: Throttle) -> Bucket {
        assert!(setting.orders_per_second > 0 && setting.burst > 0);
        let mut bucket = Bucket {
            setting,
            credit_ns: 0,
            last_ns: None,
        };
        bucket.credit_ns = bucket.most_ns();
        bucket
    }

    /// What it was made with.
    pub fn setting(&self) -> &Throttle {
        &self.setting
    }

    fn cost_ns(&self) -> u64 {
        // Rounded up: never more than the rate.
        1_000_000_000u64.div_ceil(u64::from(self.setting.orders_per_second))
    }

    fn most_ns(&self) -> u64 {
        self.cost_ns() * u64::from(self.setting.burst)
    }

    /// How long the next order has to wait, in nanoseconds.
    pub fn wait_ns(&mut self, now_ns: u64) -> u64 {
        let passed_ns = now_ns.saturating_sub(self.last_ns.unwrap_or(now_ns));
        self.last_ns = Some(now_ns);
        self.credit_ns = self.credit_ns.saturating_add(passed_ns).min(self.most_ns());
        self.cost_ns().saturating_sub(self.credit_ns)
    }

    /// One left that did not have to wait.
    pub fn take(&mut self) {
        self.credit_ns = self.credit_ns.saturating_sub(self.cost_ns());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many leave if one wants to every so often, for so long.
    fn leave(setting: Throttle, every_ns: u64, for_ns: u64) -> Vec<u64> {
        let mut bucket = Bucket::new(setting);
        let times = (0..for_ns).step_by(every_ns as usize);
        let free = times.filter(|now_ns| {
            let is_free = bucket.wait_ns(*now_ns) == 0;
            if is_free {
                bucket.take();
            }
            is_free
        });
        free.collect()
    }

    #[test]
    fn no_stretch_of_time_has_more_than_its_rate_and_one_burst() {
        for (orders_per_second, burst) in [(1, 1), (3, 1), (10, 4), (999, 1), (1000, 20)] {
            let setting = Throttle {
                orders_per_second,
                burst,
                queue_max: None,
            };
            let second_ns = 1_000_000_000;
            let left = leave(setting, 100_000, 3 * second_ns);
            for (index, from) in left.iter().enumerate() {
                for (more, to) in left[index..].iter().enumerate() {
                    let due = (to - from) * u64::from(orders_per_second) / second_ns;
                    // `more` left behind the first of them.
                    assert!(more as u64 <= due + u64::from(burst), "{setting:?}");
                }
            }
            // And no less, but for what the steps of time cost.
            let due = 3 * orders_per_second + burst;
            assert!(
                left.len() as u32 + due / 5 + 1 >= due,
                "{} of {due}",
                left.len()
            );
        }
    }

    #[test]
    fn a_burst_is_there_again_after_a_pause_and_not_before() {
        let setting = Throttle {
            orders_per_second: 10,
            burst: 2,
            queue_max: None,
        };
        let mut bucket = Bucket::new(setting);
        let mut ask = |now_ns: u64| {
            let wait_ns = bucket.wait_ns(now_ns);
            if wait_ns == 0 {
                bucket.take();
            }
            wait_ns
        };
        assert_eq!([ask(5), ask(5), ask(5)], [0, 0, 100_000_000]);
        assert_eq!([ask(100_000_004), ask(100_000_005)], [1, 0]);
        assert_eq!(ask(100_000_006), 99_999_999);
        assert_eq!([ask(900_000_000), ask(900_000_000)], [0, 0]);
        assert_eq!(ask(900_000_000), 100_000_000);
    }
}
