"use strict";
const { report } = require("./agent.js");
const { Octokit } = require("@octokit/rest");
const { retry } = require("@octokit/plugin-retry");

report(
  () => new (Octokit.plugin(retry))({ auth: "token" }).rest.orgs.setMembershipForUser({ org: "contoso", username: "bob", role: "admin" }),
  (e) => ({ message: e.message, status: e.status }),
);
