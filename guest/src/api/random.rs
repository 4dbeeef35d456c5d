//! `random::*`: random numbers from ChaCha20, which the host seeds once per execution.

use std::cell::RefCell;

use picloud_shared::calls::random::Seed;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rhai::Blob;
use rhai::plugin::*;

use crate::host;

/// The maximum number of bytes of one call.
const BYTES_MAX: i64 = 1024 * 1024;

thread_local! {
    static GENERATOR: RefCell<Option<ChaCha20Rng>> = const { RefCell::new(None) };
}

fn draw<T>(
    context: &NativeCallContext<'_>,
    take: impl FnOnce(&mut ChaCha20Rng) -> T,
) -> Result<T, Box<EvalAltResult>> {
    GENERATOR.with_borrow_mut(|generator| {
        let generator = match generator {
            Some(generator) => generator,
            None => generator.insert(ChaCha20Rng::from_seed(host::call(context, &Seed)?.0)),
        };
        Ok(take(generator))
    })
}

/// Returns a number below `bound`, without bias: discards the few draws that would favour low
/// numbers.
fn below(generator: &mut ChaCha20Rng, bound: u64) -> u64 {
    let unbiased = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = generator.next_u64();
        if drawn < unbiased {
            return drawn % bound;
        }
    }
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Returns a random UUID, version 4.
    #[rhai_fn(return_raw)]
    pub fn uuid(context: NativeCallContext<'_>) -> Result<String, Box<EvalAltResult>> {
        let mut bytes = [0; 16];
        draw(&context, |generator| generator.fill_bytes(&mut bytes))?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }

    /// Returns a random whole number from `least` to `most`, both inclusive.
    #[rhai_fn(return_raw)]
    pub fn int(
        context: NativeCallContext<'_>,
        least: i64,
        most: i64,
    ) -> Result<i64, Box<EvalAltResult>> {
        if least > most {
            return Err(format!("there is no number from {least} to {most}").into());
        }
        let span = most.wrapping_sub(least) as u64;
        draw(&context, |generator| match span.checked_add(1) {
            Some(bound) => least.wrapping_add(below(generator, bound) as i64),
            None => generator.next_u64() as i64,
        })
    }

    /// Returns a random number from 0 (inclusive) to 1 (exclusive).
    #[rhai_fn(return_raw)]
    pub fn float(context: NativeCallContext<'_>) -> Result<f64, Box<EvalAltResult>> {
        const STEPS: f64 = (1_u64 << 53) as f64;
        draw(&context, |generator| (generator.next_u64() >> 11) as f64 / STEPS)
    }

    /// Returns a blob of random bytes, at most 1 MiB.
    #[rhai_fn(return_raw)]
    pub fn bytes(context: NativeCallContext<'_>, length: i64) -> Result<Blob, Box<EvalAltResult>> {
        if !(0..=BYTES_MAX).contains(&length) {
            return Err(format!("random::bytes gives 0 to {BYTES_MAX} bytes, not {length}").into());
        }
        let mut blob = vec![0; length as usize];
        draw(&context, |generator| generator.fill_bytes(&mut blob))?;
        Ok(blob)
    }
}
