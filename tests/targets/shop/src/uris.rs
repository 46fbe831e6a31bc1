//! A list of requests, and the calls that each of them leads to.
//!
//! | request | status | ok | err, outermost first |
//! |---|---|---|---|
//! | `/item/I` | 200 | `http::get_item`, `Service::item`, `Store::item` | |
//! | `/order?item=I&count=C` | 200 | `http::order`, `Service::order`, `pricing::validate`, `Store::item`, `Pool::quote`, `pricing::quote`, `pricing::seal`, `Ledger::append` | |
//! | `/item/X`, no such item | 404 | | `http::get_item`, `Service::item`, `Store::item` |
//! | `/order?item=X&count=2` | 404 | `pricing::validate` | `http::order`, `Service::order`, `Store::item` |
//! | `/order?item=I&count=0` | 422 | | `http::order`, `Service::order`, `pricing::validate` |
//!
//! Every request makes each call of its line once. Besides, starting makes one call each of
//! `Store::open`, `Store::seed` and `Service::new`, and the writer one of `Store::append` a commit,
//! how many being a matter of timing.
//!
//! In every 20 requests in a row, wherever they start, exactly one fails: 1/3 of these in each of
//! the three ways, in turn. A client that repeats the list keeps the share where the list has a
//! multiple of 20 requests ([`CYCLE`], 60, for the share of each way).

use crate::store::ITEMS;

/// One request in so many fails.
const FAILS_EVERY: usize = 20;
/// After so many requests the kinds repeat.
pub const CYCLE: usize = 3 * FAILS_EVERY;
/// Place of the request that fails.
const FAILS_AT: usize = 7;
/// An item that does not exist.
const NO_ITEM: u32 = 4_000_000;

/// A request and what comes of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Path and query.
    pub uri: String,
    /// Status of the response.
    pub status: u16,
}

/// The first `count` requests of the list.
pub fn requests(count: usize) -> impl Iterator<Item = Request> {
    (0..count).map(request)
}

/// Request `n` of the list.
fn request(n: usize) -> Request {
    // Another item each time, in an order that jumps about.
    let item = (n % ITEMS as usize) * 7 % ITEMS as usize + 1;
    let (uri, status) = match n % CYCLE {
        FAILS_AT => (format!("/item/{NO_ITEM}"), 404),
        at if at == FAILS_AT + FAILS_EVERY => (format!("/order?item={NO_ITEM}&count=2"), 404),
        at if at == FAILS_AT + 2 * FAILS_EVERY => (format!("/order?item={item}&count=0"), 422),
        at if at % 4 == 1 => (format!("/order?item={item}&count={}", n % 13 + 1), 200),
        _ => (format!("/item/{item}"), 200),
    };
    Request { uri, status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_twenty_requests_in_a_row_one_fails() {
        let list: Vec<Request> = requests(5 * CYCLE).collect();
        for window in list.windows(FAILS_EVERY) {
            assert_eq!(
                window
                    .iter()
                    .filter(|request| request.status != 200)
                    .count(),
                1
            );
        }
    }

    #[test]
    fn a_cycle_fails_once_in_each_way_and_orders_fifteen_times() {
        let list: Vec<Request> = requests(CYCLE).collect();
        let count = |status, path: &str| {
            list.iter()
                .filter(|r| r.status == status && r.uri.starts_with(path))
                .count()
        };
        assert_eq!(
            [
                count(404, "/item"),
                count(404, "/order"),
                count(422, "/order")
            ],
            [1, 1, 1]
        );
        assert_eq!([count(200, "/item"), count(200, "/order")], [42, 15]);
    }
}
