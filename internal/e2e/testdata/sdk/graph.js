"use strict";
const { report } = require("./agent.js");
const { Client } = require("@microsoft/microsoft-graph-client");

const client = Client.init({ authProvider: (done) => done(null, process.env.GRAPH_TOKEN) });
report(
  () => client.api("/users/bob@contoso.com").patch(JSON.parse(process.env.BODY)),
  (e) => ({ message: e.message, status: e.statusCode, code: e.code, hold: JSON.parse(e.body).innerError.hold }),
);
