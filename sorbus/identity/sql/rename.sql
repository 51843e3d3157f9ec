update crosswalk set external_id = %(external_id)s, version = 0, sent = null, sending = null, linked_at = now(), changed_at = now()
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s and state = 'linked'
returning id
