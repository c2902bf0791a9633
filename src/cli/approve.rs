//! `hearth approve`: a person's word on destructive calls.

use serde_json::json;

use super::args::{Approve, Place};
use super::call;
use super::output::{self, Form};
use crate::error::Result;

pub async fn run(place: &Place, args: Approve) -> Result<()> {
    let answer = match (args.id, args.reject) {
        (None, _) => call::tool(place, "system_list_approvals", json!({})).await?,
        (Some(id), false) => call::tool(place, "system_approve", json!({ "approval": id })).await?,
        (Some(id), true) => call::tool(place, "system_reject", json!({ "approval": id })).await?,
    };
    output::print(Form::of(place), &answer)
}
