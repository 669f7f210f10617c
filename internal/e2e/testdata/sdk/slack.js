"use strict";
const { report } = require("./agent.js");
const { WebClient } = require("@slack/web-api");

// By itself this SDK sends again, for half an hour, whatever is answered with a status other than 200.
const client = new WebClient("xoxp-token", { retryConfig: { retries: 0 } });
report(
  () => client.admin.users.setAdmin({ team_id: "T1", user_id: "bob" }),
  (e) => ({ message: e.body.message, status: e.statusCode, code: e.body.error, hold: e.body.hold }),
);
