"use strict";
const { report } = require("./agent.js");
const { AuthorizationManagementClient } = require("@azure/arm-authorization");

const subscription = "11111111-1111-1111-1111-111111111111";
const credential = { getToken: async () => ({ token: "token", expiresOnTimestamp: Date.now() + 3600e3 }) };
report(
  () =>
    new AuthorizationManagementClient(credential, subscription).roleAssignments.create("subscriptions/" + subscription, "22222222-2222-2222-2222-222222222222", {
      roleDefinitionId: "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
      principalId: "33333333-3333-3333-3333-333333333333",
    }),
  (e) => ({ message: e.message, status: e.statusCode, code: e.code, hold: e.details.error.additionalInfo[0].info.hold }),
);
