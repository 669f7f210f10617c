"use strict";
const { report } = require("./agent.js");
const { Octokit } = require("@octokit/rest");

report(
  () =>
    new Octokit({ auth: "token" }).graphql(
      "mutation($enterprise: ID!, $login: String!) { addEnterpriseAdmin(input: {enterpriseId: $enterprise, login: $login, role: OWNER}) { clientMutationId } }",
      { enterprise: "E_1", login: "bob" },
    ),
  (e) => ({ message: e.message, status: e.status, code: e.response.data.errors[0].type, hold: e.response.data.errors[0].extensions.hold }),
);
