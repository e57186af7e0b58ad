-- Of a member's devices in a conversation, the ten that have received most are kept: those that folders of earlier versions have beside them go.

DELETE FROM delivered WHERE (tenant, conversation, user, device) IN (
    SELECT tenant, conversation, user, device FROM (
        SELECT tenant, conversation, user, device,
               row_number() OVER (PARTITION BY tenant, conversation, user ORDER BY seq DESC, device) AS place
        FROM delivered
    ) WHERE place > 10
);
