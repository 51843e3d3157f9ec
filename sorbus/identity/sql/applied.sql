update crosswalk set version = %(version)s, sent = %(sent)s::json, sending = null, changed_at = now()
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s and state = 'linked' and version <= %(version)s
