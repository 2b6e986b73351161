//! Bodies of signed calls, read: what the calls and the fuzz targets share.

use super::report::{Account, Execution, OrderReport, Restrictions};
use super::rows::{AccountRow, OrderRow, RestrictionsRow, TradeRow};

/// One order.
///
/// # Errors
/// Where the body is not as documented.
pub fn read_order(body: &[u8]) -> Result<OrderReport, serde_json::Error> {
    serde_json::from_slice::<OrderRow>(body).map(OrderRow::report)
}

/// A list of orders.
///
/// # Errors
/// Where the body is not as documented.
pub fn read_orders(body: &[u8]) -> Result<Vec<OrderReport>, serde_json::Error> {
    let rows: Vec<OrderRow> = serde_json::from_slice(body)?;
    Ok(rows.into_iter().map(OrderRow::report).collect())
}

/// A list of executions.
///
/// # Errors
/// Where the body is not as documented.
pub fn read_executions(body: &[u8]) -> Result<Vec<Execution>, serde_json::Error> {
    let rows: Vec<TradeRow> = serde_json::from_slice(body)?;
    Ok(rows.into_iter().map(TradeRow::execution).collect())
}

/// The account.
///
/// # Errors
/// Where the body is not as documented.
pub fn read_account(body: &[u8]) -> Result<Account, serde_json::Error> {
    serde_json::from_slice::<AccountRow>(body).map(AccountRow::account)
}

/// What a key may do.
///
/// # Errors
/// Where the body is not as documented; also where it does not tell of every way to take money out.
pub fn read_restrictions(body: &[u8]) -> Result<Restrictions, serde_json::Error> {
    serde_json::from_slice::<RestrictionsRow>(body).map(|row| row.restrictions())
}
