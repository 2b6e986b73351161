//! Named places on an order's way at which a test ends the process, and two ways of trading that are known to be
//! broken, by which a test of that kind proves that it would notice. Nothing of it is there without the feature
//! `failpoints`, which no build that is shipped has.
//!
//! `TORTURE_FAILPOINT=name:n` aborts the process where it passes the place for the `n`th time;
//! `TORTURE_CONTROL` makes it trade in a broken way, see [`Control`].

/// A way of trading that is known to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    /// `send-then-persist`: an order leaves at once, and is journaled a moment later. A crash in between forgets it.
    SendThenPersist,
    /// `blind-resend`: an order whose outcome is not known is sent again under its id. The venue takes that for
    /// another order once the first has filled.
    BlindResend,
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Control;

    /// Where the process ends, and in how many passings.
    static ARMED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let armed = std::env::var("TORTURE_FAILPOINT").ok()?;
        let (name, times) = armed.split_once(':').unwrap_or((&armed, "1"));
        Some((name.to_owned(), AtomicU64::new(times.parse().ok()?)))
    });

    static CONTROL: LazyLock<Option<Control>> =
        LazyLock::new(|| match std::env::var("TORTURE_CONTROL").ok()?.as_str() {
            "send-then-persist" => Some(Control::SendThenPersist),
            "blind-resend" => Some(Control::BlindResend),
            _ => None,
        });

    pub(crate) fn pass(place: &str) {
        if let Some((name, left)) = &*ARMED
            && name == place
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }

    /// Passes it a moment later: what was just begun is on its way then, and not back yet.
    pub(crate) fn pass_soon(place: &'static str) {
        if ARMED.is_some() {
            actix_rt::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                pass(place);
            });
        }
    }

    pub(crate) fn control() -> Option<Control> {
        *CONTROL
    }
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::{control, pass, pass_soon};

/// Passes a place.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) const fn pass(_: &str) {}

/// Passes a place in a moment.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) const fn pass_soon(_: &str) {}

/// How it trades, if not as it should.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) const fn control() -> Option<Control> {
    None
}
