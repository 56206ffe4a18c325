//! `tomte token`: tokens for programs. A token is printed once, alone.

use tomte_api::account::{AddToken, Role};
use tomte_api::client::Client;

use super::{ago, now};
use crate::cli::TokenCommand;
use crate::output::{Format, Output, Text};

pub(crate) async fn run(command: TokenCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        TokenCommand::List => {
            let tokens = client.tokens().await?;
            let rows = tokens
                .iter()
                .map(|token| {
                    vec![
                        Text::new(token.name.clone()),
                        Text::new(token.role.as_str()),
                        Text::new(format!("{}…", token.prefix)),
                        ago(Some(token.created_at), now()),
                        ago(token.last_used_at, now()),
                    ]
                })
                .collect();
            output.list(&tokens, &["name", "role", "begins", "age", "used"], rows)
        }
        TokenCommand::Add { name, role } => {
            let role: Role = role.parse()?;
            let token = client.add_token(&AddToken { name, role, expires_at: None }).await?;
            if output.format == Format::Json { output.json(&token) } else { output.line(token.token) }
        }
        TokenCommand::Rm { name } => {
            client.delete_token(&name).await?;
            output.line(format!("{name} no longer works"))
        }
    }
}
