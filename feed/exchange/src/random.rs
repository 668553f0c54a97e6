//! Chance, the same on every machine.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds
//! exactly: the logarithm of a C library may differ in its last bit from one system to the next,
//! and one bit is enough to change a session.

/// xoshiro256++ by Blackman and Vigna, seeded by splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// Equal seeds and streams give equal sequences; two streams of one seed are unrelated.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut x = seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        let state = std::array::from_fn(|_| {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { state }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// From 0 up to, not including, `bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of `len` items.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// From 0 up to, not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponential, with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -ln(1.0 - self.unit()) * mean
    }

    /// Failures before a success, 0 upwards, with this mean.
    pub(crate) fn geometric(&mut self, mean: f64) -> u32 {
        self.exponential(mean) as u32
    }

    /// Mean 0 and variance 1, as the sum of four uniforms: never beyond 3.5, and near enough to
    /// normal for one step of a price.
    pub(crate) fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum =
            (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        // 131070 is the mean of the sum, and 65536 / sqrt(3) its standard deviation.
        (sum as f64 - 131_070.0) * (1.732_050_807_568_877_2 / 65_536.0)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// The natural logarithm of a positive, normal number, to about 1e-8.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 1.0 + s2 * (1.0 / 3.0 + s2 * (0.2 + s2 * (1.0 / 7.0 + s2 / 9.0)));
    2.0 * s * series + exponent as f64 * std::f64::consts::LN_2
}

/// e to the power of `x`, for `x` up to about 20, to about 1e-9.
pub(crate) fn exp(x: f64) -> f64 {
    let small = x / 256.0;
    let mut power = 1.0 + small * (1.0 + small * (0.5 + small * (1.0 / 6.0 + small / 24.0)));
    for _ in 0..8 {
        power *= power;
    }
    power
}

/// Draws an index in proportion to its weight, in constant time (Walker's alias method).
#[derive(Debug)]
pub(crate) struct Weighted {
    /// For each index, the share of its cell that is its own, in 2^32nds, and who has the rest.
    cells: Vec<(u32, u32)>,
}

impl Weighted {
    pub(crate) fn new(weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let scale = weights.len() as f64 / sum;
        let mut share: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let mut cells: Vec<(u32, u32)> = (0..weights.len() as u32).map(|i| (u32::MAX, i)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&i| share[i] < 1.0);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            cells[poor] = ((share[poor] * 4_294_967_295.0) as u32, rich as u32);
            share[rich] -= 1.0 - share[poor];
            if share[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { cells }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let bits = random.next();
        let index = (((bits >> 32) * self.cells.len() as u64) >> 32) as usize;
        let (own, other) = self.cells[index];
        if bits as u32 <= own {
            index
        } else {
            other as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_logarithm_and_power_agree_with_the_library() {
        for i in 1..2000 {
            let x = f64::from(i) / 1000.0;
            assert!((ln(x) - x.ln()).abs() < 1e-7, "ln {x}");
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-7, "exp {x}");
        }
    }

    #[test]
    fn moments_are_as_promised() {
        let mut random = Random::new(1, 0);
        let n = 200_000;
        let normals: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!(
            mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
        let mean = (0..n).map(|_| random.exponential(5.0)).sum::<f64>() / f64::from(n);
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn weighted_draws_follow_their_weights() {
        let weights = [5.0, 1.0, 3.0, 0.5, 0.5];
        let (table, mut random) = (Weighted::new(&weights), Random::new(2, 0));
        let mut counts = [0u32; 5];
        for _ in 0..100_000 {
            counts[table.draw(&mut random)] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let expected = weight * 10_000.0;
            assert!(
                (f64::from(*count) - expected).abs() < 0.06 * expected + 100.0,
                "{counts:?}"
            );
        }
    }
}
