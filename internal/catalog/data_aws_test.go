package catalog_test

import "testing"

const awsHost = "iam.amazonaws.com"

func TestAWSHoldsCredentialsPermissionsAndWhatWatches(t *testing.T) {
	holds(t, awsHost, []known{
		{"credential_reset", "POST", "/action/iam/CreateAccessKey", nil},
		{"credential_reset", "POST", "/action/iam/DeactivateMFADevice", object{"SerialNumber": "s"}},
		{"permission_grant", "POST", "/action/iam/AttachRolePolicy", object{"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}},
		{"admin_privilege", "POST", "/action/iam/AttachRolePolicy", object{"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}},
		{"permission_grant", "POST", "/action/iam/UpdateRole", object{"RoleName": "r", "MaxSessionDuration": "43200"}},
		{"account_creation", "POST", "/action/iam/CreateRole", object{"RoleName": "r"}},
		{"security_config", "POST", "/action/iam/UpdateAccountPasswordPolicy", nil},
		{"admin_privilege", "POST", "/action/sts/AssumeRoot", nil},
		{"permission_grant", "POST", "/action/sso/CreateAccountAssignment", object{"PrincipalId": "p"}},
		{"credential_reset", "POST", "/action/cognito-idp/AdminSetUserPassword", object{"Username": "u", "Password": "x"}},
		{"read", "POST", "/action/secretsmanager/GetSecretValue", object{"SecretId": "s"}},
		{"read", "POST", "/action/ssm/GetParameter", object{"Name": "n", "WithDecryption": true}},
		{"credential_reset", "POST", "/action/ssm/PutParameter", object{"Name": "n", "Type": "SecureString"}},
		{"credential_reset", "POST", "/action/ssm/PutParameter", object{"Name": "n", "Overwrite": true}},
		{"permission_grant", "POST", "/action/unheard-of/PutResourcePolicy", nil},
		{"security_config", "POST", "/action/cloudtrail/StopLogging", object{"Name": "t"}},
		{"admin_privilege", "POST", "/action/ec2/RunInstances", object{"IamInstanceProfile.Arn": "a"}},
		{"credential_reset", "POST", "/action/rds/ModifyDBInstance", object{"DBInstanceIdentifier": "d", "MasterUserPassword": "x"}},
		{"permission_grant", "DELETE", "/rest/lambda/2015-03-31/functions/f/policy/s", nil},
		{"security_config", "PATCH", "/rest/securityhub/findings", object{}},
		{"security_config", "POST", "/rest/guardduty/detector/d/member/disassociate", object{}},
		{"permission_grant", "POST", "/rest/ram/createresourceshare", object{"name": "n"}},
		{"admin_privilege", "PUT", "/rest/lambda/2015-03-31/functions/f/configuration", object{"Timeout": 3, "Role": "r"}},
		{"permission_grant", "PUT", "/rest/elasticfilesystem/2015-02-01/file-systems/fs/policy", object{}},
	})
}

func TestAWSLetsReadsAndTheDataPlanePass(t *testing.T) {
	passes(t, awsHost, []known{
		{"", "POST", "/action/iam/ListAttachedUserPolicies", nil},
		{"", "POST", "/action/iam/SimulatePrincipalPolicy", nil},
		{"", "POST", "/action/iam/GenerateCredentialReport", nil},
		{"", "POST", "/action/iam/UpdateRoleDescription", object{"RoleName": "r", "Description": "d"}},
		{"", "POST", "/action/iam/UpdateRole", object{"Action": "UpdateRole", "RoleName": "r", "Description": "d"}},
		{"", "POST", "/action/sts/GetCallerIdentity", nil},
		{"", "POST", "/action/ssm/GetParameter", object{"Name": "n"}},
		{"", "POST", "/action/ssm/PutParameter", object{"Name": "n", "Type": "String", "Value": "v"}},
		{"", "POST", "/action/ec2/RunInstances", object{"ImageId": "ami"}},
		{"", "POST", "/action/kms/Encrypt", object{"KeyId": "k", "Plaintext": "x"}},
		{"", "POST", "/action/unheard-of/DescribeThings", nil},
		{"", "GET", "/rest/eks/clusters/c", nil},
		{"", "PUT", "/s3/policies/report.txt", nil},
		{"", "POST", "/rest/bedrock-runtime/model/m/invoke", object{}},
		{"", "POST", "/action/logs/FilterLogEvents", object{"logGroupName": "g"}},
		{"", "POST", "/action/config/SelectResourceConfig", object{"Expression": "SELECT *"}},
		{"", "POST", "/rest/securityhub/findings", object{}},
		{"", "POST", "/rest/guardduty/detector/d/findings/get", object{}},
		{"", "POST", "/rest/ram/getresourceshares", object{"resourceOwner": "SELF"}},
	})
	a := byHost(t, awsHost)
	for _, path := range []string{"/action/iam/MakeItSo", "/action/s3/PutThing", "/rest/eks/clusters"} {
		if m := a.Match(call("POST", path, nil)); m.Coverage != "unlisted" || m.Category == "read" {
			t.Errorf("%s is %s (%s), want an unlisted write", path, m.Category, m.Coverage)
		}
	}
}
