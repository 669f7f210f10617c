"use strict";
const { report } = require("./agent.js");
const { Octokit } = require("@octokit/rest");

report(
  () => new Octokit({ auth: "token" }).rest.orgs.setMembershipForUser({ org: "contoso", username: "bob", role: "admin" }),
  (e) => ({ message: e.message, status: e.status, code: e.response.data.errors[0].code, hold: e.response.data.errors[0].hold }),
);
