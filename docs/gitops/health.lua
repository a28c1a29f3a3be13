-- Health of an AgentSession or AgentPool for Argo CD. Status follows kstatus: Stalled means failed, Reconciling means
-- in progress, Ready means current; a status of an older generation says nothing about this one.
local hs = { status = "Progressing", message = "Waiting for the operator" }

if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

local function is_true(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

if conditions.Ready ~= nil then
  hs.message = conditions.Ready.reason .. ": " .. (conditions.Ready.message or "")
end
if is_true("Stalled") then
  hs.status = "Degraded"
elseif is_true("Ready") then
  hs.status = "Healthy"
end
return hs
