//! `tomte user`: accounts of people.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use tomte_api::account::{AddUser, Role};
use tomte_api::client::Client;

use super::{ago, now};
use crate::cli::UserCommand;
use crate::output::{Format, Output, Text};

pub(crate) async fn run(command: UserCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        UserCommand::List => {
            let users = client.users().await?;
            let rows = users
                .iter()
                .map(|user| {
                    vec![
                        Text::new(user.name.clone()),
                        Text::new(user.role.as_str()),
                        ago(Some(user.created_at), now()),
                        ago(user.last_login_at, now()),
                    ]
                })
                .collect();
            output.list(&users, &["name", "role", "age", "signed in"], rows)
        }
        UserCommand::Add { name, role } => {
            let role: Role = role.parse()?;
            let user = client.add_user(&AddUser { password: password(&name)?, name: name.clone(), role }).await?;
            if output.format == Format::Json {
                output.json(&user)
            } else {
                output.line(format!("{name} may sign in as {role}"))
            }
        }
        UserCommand::Password { name } => {
            client.set_password(&name, &password(&name)?).await?;
            output.line(format!("{name} has a new password; open sessions have ended"))
        }
        UserCommand::Role { name, role } => {
            let role: Role = role.parse()?;
            client.set_user_role(&name, role).await?;
            output.line(format!("{name} is {role}"))
        }
        UserCommand::Rm { name } => {
            client.delete_user(&name).await?;
            output.line(format!("{name} is removed"))
        }
    }
}

/// Asks without showing what is typed; in a pipe, the first line.
fn password(name: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password(format!("Password for {name}: ")).context("reading the password")?;
        let second = rpassword::prompt_password("Once more: ").context("reading the password")?;
        if first != second {
            bail!("the two are not the same");
        }
        return Ok(first);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password on standard input");
    }
    Ok(password.to_owned())
}
