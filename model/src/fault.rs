//! What is wrong with something that a user sent, and what is worth knowing of it.

use serde::Serialize;

/// One bad field: which, what was given, and what would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error, utoipa::ToSchema)]
#[error("{param}: {message}")]
pub struct Fault {
    /// The field, `dca.step_scale` for one inside an object.
    pub param: String,
    /// A stable word for programs: `parameter_missing`, `parameter_invalid`, `parameter_unknown`.
    pub code: &'static str,
    /// A sentence with the value and the remedy.
    pub message: String,
}

/// Every bad field of a definition; never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Faults(pub Vec<Fault>);

/// Something allowed that its owner should know, such as a safety order below its stop.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, utoipa::ToSchema)]
pub struct Warning {
    /// The field it is about.
    pub param: String,
    /// A stable word for programs: `stop_below_tick`, `stake_above_maximum`.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}
