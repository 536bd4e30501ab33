-- Renews the lease of one member; `limits.py` says what that is.
-- KEYS: the state, the members, the events of one limiter. ARGV: the report of the member, as JSON; the digest of
-- the limiter; the channel on which it is published after a cut.

local HORIZON_S = 0.25        -- Slots are given at most this long before their time.
local RAMP_HORIZON_S = 0.1    -- It is shorter while no limit is known.
local MEMBER_S = 1.5          -- A member that has not renewed for this long is dead.
local SILENT_S = 0.6          -- One that has not renewed for this long needs no slots now.
local SLACK_S = 0.025         -- The slots of this time may be used late.
local TURN_S = 0.1            -- A turn lapses after this time.
local TURN_EVERY_S = 0.1      -- The pace is brought up to date at this interval, if it changes with time,
local SELDOM_S = 1.0          -- and at this one otherwise.
local RAMP_BURST = 8          -- The ramp begins with a burst of so many requests.
local WAITED_S = 0.3          -- A slot that is free for this long goes to any member.
local PLACE_S = 1.0           -- After this time a member gives its places to one that has none.
local REJECTED_S = 5          -- A rejection holds for this long.
local MANY_EVENTS = 5         -- Nothing is sent while so many events wait for a turn.
local MOST_EVENTS = 500
local KEPT_S = 900            -- Limits that are not used for this long are forgotten.
local PAUSE_S = 130           -- No pause is longer, whatever a clock says.

local report = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local state = {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do state[flat[i]] = flat[i + 1] end
local function number(name) return tonumber(state[name] or '0') end
local changed = {}
local function set(name, value)
  if type(value) == 'number' then value = string.format('%.6f', value) end
  state[name] = value
  changed[name] = value
end

-- The members that are alive, and what they want.
local members = {}
local dead = {}
flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local one = cjson.decode(flat[i + 1])
  if one.ends < now or one.ends > now + 10 then dead[#dead + 1] = flat[i] else members[flat[i]] = one end
end
if #dead > 0 then redis.call('HDEL', KEYS[2], unpack(dead)) end
local me = members[report.member] or {places = 0, since = now, got = 0}
members[report.member] = me
me.ends = now + MEMBER_S
me.renewed = now
me.in_flight, me.per_s, me.is_waiting = report.in_flight, report.per_s, report.is_waiting
me.ceiling, me.has_probe = report.ceiling, report.has_probe

-- What this member reports.
set('sent', number('sent') + report.sent)
set('answered', number('answered') + report.answered)
for _, event in ipairs(report.events) do
  event.at = now
  redis.call('RPUSH', KEYS[3], cjson.encode(event))
end
if #report.events > 0 then redis.call('LTRIM', KEYS[3], -MOST_EVENTS, -1) end
if report.rejected ~= '' then
  set('rejected', report.rejected)
  set('rejected_at', now)
  set('rejected_by', report.member)
end

-- The new state, if this member has made one.
local new = report.publication
local version = number('version')
if new and version <= new.base then
  local old = state.pub and cjson.decode(state.pub)
  local pub = cjson.decode(new.pub)
  version = new.base + 1
  set('version', tostring(version))
  set('text', new.text)
  set('pub', new.pub)
  set('published_at', now)
  set('answered', math.max(number('answered') - new.answered, 0))
  if number('sent') < new.sent then set('sent', new.sent) end
  if new.handled > 0 then redis.call('LTRIM', KEYS[3], new.handled, -1) end
  if not state.tat then
    set('tat', old and now or now - RAMP_BURST / math.max(pub.pace, 40))
  end
  if pub.pace > 0 then
    set('tat', number('tat') - pub.extra / pub.pace)
  end
  local is_cut = old and old.epoch ~= pub.epoch
  if pub.paused_until > now or is_cut then
    set('tat', math.max(number('tat'), now, pub.paused_until))
  end
  if is_cut then redis.call('PUBLISH', ARGV[3], ARGV[2]) end
end
if new and state.turn == report.member then set('turn_until', 0) end

local pub = state.pub and cjson.decode(state.pub)

-- Who is here, and what they want together.
local count, active, waiting, in_flight, others_per_s, ceiling = 0, 0, 0, 0, 0, -1
local placed, is_one_starving, oldest_got = 0, false, now
for name, one in pairs(members) do
  count = count + 1
  in_flight = in_flight + one.in_flight
  if now - one.renewed < SILENT_S then
    if one.is_waiting or one.per_s > 0.05 then active = active + 1 end
    if one.is_waiting then waiting = waiting + 1 else others_per_s = others_per_s + one.per_s end
  end
  if one.ceiling >= 0 and (ceiling < 0 or one.ceiling < ceiling) then ceiling = one.ceiling end
  if name ~= report.member then
    placed = placed + math.max(one.places, one.in_flight)
    if one.is_waiting and now - one.renewed < SILENT_S then
      oldest_got = math.min(oldest_got, one.got)
      if one.places < 1 then is_one_starving = true end
    end
  end
end

local pending = redis.call('LLEN', KEYS[3])
local slots, first_slot, share, places, may_probe = 0, now, 1, -1, false
if pub then
  local paused = math.min(pub.paused_until, now + PAUSE_S)
  if pub.pace > 0 then
    -- The part of the pace that a member may have: what those leave that need less.
    local fair = pub.pace / math.max(active, 1)
    if waiting > 0 then fair = math.max(fair, (pub.pace - others_per_s) / waiting) end
    share = math.min(fair / pub.pace, 1)
    local slack = SLACK_S
    if pub.is_ramping then slack = math.max(RAMP_BURST / pub.pace, HORIZON_S) end
    local tat = math.max(number('tat'), now - slack)
    tat = tat + report.sent_alone / pub.pace
    tat = math.min(tat, math.max(paused, now + HORIZON_S) + 1 / pub.pace)
    local horizon = HORIZON_S
    if pub.is_ramping then horizon = RAMP_HORIZON_S end
    local is_open = now >= paused and not pub.is_probing and pending < MANY_EVENTS
    if report.wanted > 0 and is_open and tat <= now + horizon then
      local free = math.floor((now + horizon - tat) * pub.pace) + 1
      local most = fair * (horizon + 0.1)
      if most < 1 then
        -- There are fewer slots than members: the one that has waited longest is first.
        most = 1
        if oldest_got < me.got and now + HORIZON_S - tat < WAITED_S then most = 0 end
      end
      slots = math.max(math.min(report.wanted, free, math.ceil(most) - report.held), 0)
      if slots > 0 then
        first_slot = math.max(tat, now - slack)
        tat = tat + slots / pub.pace
        me.got = now
      end
    end
    set('tat', tat)
  end
  if pub.most >= 0 then
    local fair = math.max(math.floor(pub.most / math.max(active, 1)), 1)
    -- One place more than it needs lets the next call start without waiting.
    local spare = is_one_starving and 0 or 1
    places = math.min(report.places + spare, pub.most - placed)
    if is_one_starving then places = math.min(places, fair) end
    if is_one_starving and pub.most < active and me.places > 0 and now - me.since > PLACE_S then
      places = 0
    end
    places = math.max(math.floor(places), 0)
    if (me.places > 0) ~= (places > 0) then me.since = now end
    me.places = places
  end
  if pub.is_probing and report.wants_probe and now >= paused then
    local holder = members[state.probe or '']
    if not holder or not (holder.has_probe or now - number('probe_at') < 0.5) then
      may_probe = true
      set('probe', report.member)
      set('probe_at', now)
    end
  end
end

-- Whose turn it is to bring the state up to date.
local behind = version < report.version and not new
local turn = false
local events = {}
if not behind and number('turn_until') <= now then
  local every = SELDOM_S
  if pub and pub.is_growing and waiting > 0 then every = TURN_EVERY_S end
  if pending > 0 or now - number('published_at') >= every then
    turn = true
    set('turn', report.member)
    set('turn_until', now + TURN_S)
    events = redis.call('LRANGE', KEYS[3], 0, MOST_EVENTS)
  end
end

local fields = {}
for name, value in pairs(changed) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('HSET', KEYS[2], report.member, cjson.encode(me))
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], KEPT_S) end

local rejected = ''
if now - number('rejected_at') < REJECTED_S and state.rejected_by ~= report.member then
  rejected = state.rejected or ''
end
return cjson.encode({
  now = now, version = version, behind = behind, turn = turn,
  text = version ~= report.version and state.text or '',
  state = turn and (state.text or '') or '',
  pub = state.pub or '',
  members = count, active = math.max(active, 1), share = share,
  slots = slots, first_slot = first_slot, places = places, may_probe = may_probe,
  sent = number('sent'), answered = number('answered'), in_flight = in_flight,
  is_held = pending >= MANY_EVENTS,
  is_waiting = waiting > 0, ceiling = ceiling, rejected = rejected,
  events = #events > 0 and events or cjson.empty_array or {},
})
